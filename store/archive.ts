import { join } from "node:path";
import { z } from "zod";
import { ArchiveEntry } from "../core/documents.ts";
import { TidelineError } from "../core/errors.ts";
import { type Cut, cutWith, type Position, position } from "../core/position.ts";
import { tile } from "../core/spans.ts";
import type { DataDirectory } from "./files.ts";
import { topicRecreated } from "./log-errors.ts";

/** Where the archive of a partition begins. Without it, two archivers who see different log starts would begin twice. */
const Beginning = z.strictObject({ from: z.string().regex(/^\d{1,19}$/), topicId: z.string() });

/**
 * The archive's entries: `archive/<topic>/<partition>/entries/<from>.json`, created exclusively under their `from`, so that of two archivers
 * who wrote the same span one wins. The next entry's `from` is the previous one's `to`: entries tile the log from where the archive began.
 */
export class Archive {
  readonly #data: DataDirectory;
  /** Entries never change, so each is read once. */
  readonly #known = new Map<string, ArchiveEntry>();

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Where the Parquet files of a partition go, relative to the data directory. */
  fileFolder(topic: string, partition: number): string {
    return join("archive", topic, String(partition), "files");
  }

  /** The entries of a partition in order. Throws ARCHIVE_DAMAGED when they do not tile, TOPIC_RECREATED when they are of another topic. */
  async entries(topic: string, topicId: string, partition: number): Promise<ArchiveEntry[]> {
    const entries: ArchiveEntry[] = [];
    for (const name of await this.#data.list(folder(topic, partition)))
      entries.push(await this.#entry(join(folder(topic, partition), name)));
    const stranger = entries.find((entry) => entry.topicId !== topicId);
    if (stranger !== undefined) throw topicRecreated(topic, stranger.topicId, topicId);
    const first = entries[0];
    const spans = entries.map(({ from, to }) => ({
      from: new Map([[partition, position(from)]]),
      to: new Map([[partition, position(to)]]),
    }));
    const tiling = tile(new Map([[partition, position(first?.from ?? 0)]]), spans);
    if (!tiling.ok) {
      const { kind, expected, found } = tiling.misfit;
      throw new TidelineError(
        "ARCHIVE_DAMAGED",
        `${topic}/${partition}: ${kind} in the archive: ${found} where ${expected} was expected`,
        "Restore the missing entry from a copy of the data directory.",
      );
    }
    return entries;
  }

  /** Fixes where the archive of a partition begins, unless that is fixed already; answers the position that holds. */
  async begin(topic: string, topicId: string, partition: number, from: Position): Promise<Position> {
    const name = join("archive", topic, String(partition), "begin.json");
    const known = await this.#data.read(name, Beginning);
    const wanted = { from: from.toString(), topicId };
    if (known === null) await this.#data.createExclusively(name, wanted);
    const held = known ?? (await this.#data.read(name, Beginning)) ?? wanted;
    if (held.topicId !== topicId) throw topicRecreated(topic, held.topicId, topicId);
    return position(held.from);
  }

  /** Partitions whose archive has begun. */
  async partitions(topic: string): Promise<number[]> {
    return (await this.#data.list(join("archive", topic))).map(Number).sort((a, b) => a - b);
  }

  /** Where the archive begins, per partition that has begun. */
  async start(topic: string, topicId: string): Promise<Cut> {
    return this.#edges(topic, topicId, (entries) => entries[0]?.from);
  }

  /** How far the archive goes, per partition that has begun. */
  async archived(topic: string, topicId: string): Promise<Cut> {
    return this.#edges(topic, topicId, (entries) => entries.at(-1)?.to);
  }

  /** The entries that hold `[from, to)` of a partition; the first and last may reach beyond it. */
  async covering(
    topic: string,
    topicId: string,
    partition: number,
    from: Position,
    to: Position,
  ): Promise<ArchiveEntry[]> {
    if (from >= to) return [];
    const entries = await this.entries(topic, topicId, partition);
    const wanted = entries.filter((entry) => position(entry.to) > from && position(entry.from) < to);
    const begins = position(wanted[0]?.from ?? to);
    const ends = position(wanted.at(-1)?.to ?? from);
    if (begins > from || ends < to) {
      throw new TidelineError(
        "ARCHIVE_DAMAGED",
        `${topic}/${partition}: the archive has [${begins}, ${ends}) of [${from}, ${to})`,
        "Archive the stream up to there first, or restore the data directory.",
      );
    }
    return wanted;
  }

  /** Adds an entry unless another archiver has published that `from`. True: this call did. */
  async create(topic: string, partition: number, entry: ArchiveEntry): Promise<boolean> {
    return this.#data.createExclusively(
      join(folder(topic, partition), `${entry.from.padStart(19, "0")}.json`),
      ArchiveEntry.parse(entry),
    );
  }

  async #edges(topic: string, topicId: string, edge: (entries: ArchiveEntry[]) => string | undefined): Promise<Cut> {
    let cut: Cut = new Map();
    for (const partition of await this.partitions(topic)) {
      const found = edge(await this.entries(topic, topicId, partition));
      if (found !== undefined) cut = cutWith(cut, partition, position(found));
    }
    return cut;
  }

  async #entry(name: string): Promise<ArchiveEntry> {
    const known = this.#known.get(name) ?? (await this.#data.read(name, ArchiveEntry));
    if (known === null)
      throw new TidelineError("ARCHIVE_DAMAGED", `${name} vanished`, "Restore the data directory from a copy.");
    this.#known.set(name, known);
    return known;
  }
}

function folder(topic: string, partition: number): string {
  return join("archive", topic, String(partition), "entries");
}
