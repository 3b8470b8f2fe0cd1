import { join } from "node:path";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import { entriesWithin, type Replaced, tileArchive } from "../../core/log/archive-tiles.ts";
import { ArchiveEntry, isMerged, LogContinuation, MergedEntry } from "../../core/log/documents.ts";
import {
  type Cut,
  cutWith,
  type EpochMs,
  type PartitionSpan,
  type Position,
  position,
} from "../../core/log/position.ts";
import type { DataDirectory } from "../files/files.ts";
import { RESTORE_HINT } from "../files/intact.ts";
import { beginningLost, topicRecreated } from "../kafka/cluster/log-errors.ts";
import { type ArchiveTail, tailOf } from "./archive-tail.ts";

/**
 * Where the archive of a partition begins. Without it, two archivers who see different log starts would begin twice.
 */
const Beginning = z.strictObject({ from: z.string().regex(/^\d{1,19}$/), topicId: z.string() });

/**
 * How long replaced entries and their files stay: longer than an activity may take, after the oldest list that it may
 * begin with.
 */
export const REPLACED_GRACE_MS = 90 * 60_000;

/**
 * How old a list may be. Far below the grace: what it names is still there, and so is the entry that would follow its
 * last.
 */
const LIST_AGE_MS = 5 * 60_000;

const ARCHIVED = "entries";
const MERGED = "merged";
const SEEN = "seen";
const CONTINUATIONS = "continuations";

/** All documents of a partition, listed just now. */
export interface ArchiveListing {
  /** Those that are read, in order. */
  readonly entries: readonly ArchiveEntry[];
  /** Those that merged ones stand for. */
  readonly replaced: readonly Replaced[];
}

/** When a sweep first found a merged entry published. */
const Seen = z.strictObject({ atMs: z.int() });

interface KnownList {
  readonly listedAtMs: EpochMs;
  readonly entries: readonly ArchiveEntry[];
}

/**
 * The archive's entries: `archive/<topic>/<partition>/entries/<from>.json`, created exclusively under their `from`, so
 * that of two archivers who wrote the same span one wins. The next entry's `from` is the previous one's `to`: entries
 * tile the log from where the archive began. A merged entry, `merged/<from>-<to>.json`, stands for the entries of its
 * span from the moment it exists.
 *
 * A list is held for some minutes, and what was archived since is found by its name, so asking costs nothing that grows
 * with history.
 */
export class Archive {
  readonly #data: DataDirectory;
  readonly #clock: () => EpochMs;
  /** Documents never change, so each is read once; by folder and name. */
  readonly #documents = new Map<string, Map<string, ArchiveEntry>>();
  readonly #lists = new Map<string, KnownList>();
  /** When merged entries were first seen, by the name of that document. */
  readonly #seen = new Map<string, EpochMs>();

  constructor(data: DataDirectory, clock: () => EpochMs = Date.now) {
    this.#data = data;
    this.#clock = clock;
  }

  /** Where the Parquet files of a partition go, relative to the data directory. */
  fileFolder(topic: string, partition: number): string {
    return join("archive", topic, String(partition), "files");
  }

  /**
   * The entries of a partition in order. Throws ARCHIVE_DAMAGED when they do not tile, TOPIC_RECREATED when they are of
   * another topic.
   */
  async entries(topic: string, topicId: string, partition: number): Promise<readonly ArchiveEntry[]> {
    const held = this.#lists.get(place(topic, partition));
    const last = held?.entries.at(-1);
    if (held === undefined || last === undefined || last.topicId !== topicId || !this.#isFresh(held))
      return (await this.list(topic, topicId, partition)).entries;
    const more: ArchiveEntry[] = [];
    for (let from = last.to; ; ) {
      const next = await this.#data.read(entryDocument(topic, partition, { from }), ArchiveEntry);
      if (next === null) break;
      requireTopic(topic, topicId, [next]);
      more.push(next);
      from = next.to;
    }
    if (more.length === 0) return held.entries;
    const entries = [...held.entries, ...more];
    this.#lists.set(place(topic, partition), { ...held, entries });
    return entries;
  }

  /** Looks at the folders again. Throws as `entries` does. */
  async list(topic: string, topicId: string, partition: number): Promise<ArchiveListing> {
    for (let attempt = 1; ; attempt++) {
      const listedAtMs = this.#clock();
      // Merged ones first: those that they stand for go long after they came.
      const merged = await this.#documentsIn(join(place(topic, partition), MERGED), MergedEntry);
      const archived = await this.#documentsIn(join(place(topic, partition), ARCHIVED), ArchiveEntry);
      requireTopic(topic, topicId, [...merged, ...archived]);
      const tiles = tileArchive(archived, merged);
      if (tiles.ok) {
        const { entries, replaced } = tiles;
        this.#lists.set(place(topic, partition), { listedAtMs, entries });
        return { entries, replaced };
      }
      // A folder is not listed in one moment: what looks like a gap may have been published in between.
      if (attempt > 1) {
        const { kind, expected, found } = tiles.misfit;
        throw new TidelineError(
          "ARCHIVE_DAMAGED",
          `${topic}/${partition}: ${kind} in the archive: ${found} where ${expected} was expected`,
          RESTORE_HINT,
        );
      }
    }
  }

  /** Fixes where the archive of a partition begins, unless that is fixed already; returns the position that holds. */
  async begin(topic: string, topicId: string, partition: number, from: Position): Promise<Position> {
    const name = beginningOf(topic, partition);
    const known = await this.#data.read(name, Beginning);
    const wanted = { from: from.toString(), topicId };
    if (known === null) await this.#data.createExclusively(name, wanted);
    const held = known ?? (await this.#data.read(name, Beginning)) ?? wanted;
    if (held.topicId !== topicId) throw topicRecreated(topic, held.topicId, topicId);
    return position(held.from);
  }

  /** Where a partition's archive begins, as it was fixed once; null before that. */
  async beginning(topic: string, partition: number): Promise<Position | null> {
    const fixed = await this.#data.read(beginningOf(topic, partition), Beginning);
    return fixed === null ? null : position(fixed.from);
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

  /** Where the archive of each partition ends, and what the log must have below that; of partitions with entries. */
  async tails(topic: string, topicId: string): Promise<ReadonlyMap<number, ArchiveTail>> {
    const tails = new Map<number, ArchiveTail>();
    for (const partition of await this.partitions(topic)) {
      const tail = await this.tail(topic, topicId, partition);
      if (tail !== null) tails.set(partition, tail);
    }
    return tails;
  }

  /** As `tails`, of one partition; null when it has no entries. */
  async tail(topic: string, topicId: string, partition: number): Promise<ArchiveTail | null> {
    const entries = await this.entries(topic, topicId, partition);
    return tailOf(entries, await this.continuation(topic, topicId, partition));
  }

  /** The newest document that accepts a log for a partition although it differs from the archive. */
  async continuation(topic: string, topicId: string, partition: number): Promise<LogContinuation | null> {
    const folder = join(place(topic, partition), CONTINUATIONS);
    const name = (await this.#data.list(folder)).at(-1);
    const newest = name === undefined ? null : await this.#data.read(join(folder, name), LogContinuation);
    return newest?.topicId === topicId ? newest : null;
  }

  /** Accepts a log for a partition, unless a document of that number exists. True: this call made it. */
  async accept(topic: string, partition: number, continuation: LogContinuation): Promise<boolean> {
    const name = `${String(continuation.number).padStart(9, "0")}.json`;
    const document = z.encode(LogContinuation, continuation);
    return this.#data.createExclusively(join(place(topic, partition), CONTINUATIONS, name), document);
  }

  /**
   * The entries that hold `[from, to)` of a partition; the first and last may reach beyond it. Throws ARCHIVE_DAMAGED
   * when it has not got all of them, LOG_LOST when the partition's archive has never begun as early as `from`.
   */
  async covering(
    topic: string,
    topicId: string,
    { partition, from, to }: PartitionSpan,
  ): Promise<readonly ArchiveEntry[]> {
    if (from >= to) return [];
    const wanted = entriesWithin(await this.entries(topic, topicId, partition), from, to);
    const begins = wanted[0]?.from ?? to;
    const ends = wanted.at(-1)?.to ?? from;
    if (begins > from && ends >= to && begins === (await this.beginning(topic, partition)))
      throw beginningLost(topic, partition, from, begins);
    if (begins > from || ends < to) {
      throw new TidelineError(
        "ARCHIVE_DAMAGED",
        `${topic}/${partition}: the archive has [${begins}, ${ends}) of [${from}, ${to})`,
        "Archive the stream up to there first (`tideline settle <stream>`), or restore the data directory " +
          "(`tideline restore <folder> --replace`, while no role runs).",
      );
    }
    return wanted;
  }

  /**
   * Adds an entry unless another archiver has published that `from`. True: the published entry is this one. False:
   * another one was first, and the entry's file is deleted.
   */
  async create(topic: string, partition: number, entry: ArchiveEntry): Promise<boolean> {
    return this.#publish(entryDocument(topic, partition, entry), entry, ArchiveEntry);
  }

  /** Puts an entry in the place of those that it was merged from, unless that was done. Returns as `create` does. */
  async createMerged(topic: string, partition: number, entry: ArchiveEntry): Promise<boolean> {
    const merged: MergedEntry = { ...entry, createdAtMs: this.#clock() };
    return this.#publish(entryDocument(topic, partition, merged), merged, MergedEntry);
  }

  /**
   * Every attempt writes a file of its own. So a published entry that names this file is of this attempt, whatever the
   * file system reported.
   */
  async #publish<T extends ArchiveEntry>(name: string, entry: T, schema: z.ZodType<T>): Promise<boolean> {
    if (await this.#data.createExclusively(name, z.encode(schema, entry))) return true;
    if (entry.file === null) return false;
    if ((await this.#data.read(name, schema))?.file === entry.file) return true;
    await this.#data.remove(entry.file);
    return false;
  }

  /**
   * Whether a merged entry has been read for so long that nobody reads any more what it stands for. That time begins
   * when a sweep first finds the entry: `createdAtMs` was taken before it was published, and its process may have slept
   * in between.
   */
  async graceIsOver(topic: string, partition: number, entry: MergedEntry): Promise<boolean> {
    const name = seenDocument(topic, partition, entry);
    const nowMs = this.#clock();
    let seenMs = this.#seen.get(name) ?? (await this.#data.read(name, Seen))?.atMs;
    if (seenMs === undefined) {
      await this.#data.createExclusively(name, { atMs: nowMs });
      seenMs = nowMs;
    } else this.#seen.set(name, seenMs);
    return nowMs - seenMs >= REPLACED_GRACE_MS;
  }

  /** Deletes the document of an entry that is replaced. */
  async removeReplaced(topic: string, partition: number, entry: ArchiveEntry): Promise<void> {
    if (isMerged(entry)) await this.#data.remove(seenDocument(topic, partition, entry));
    await this.#data.remove(entryDocument(topic, partition, entry));
  }

  #isFresh({ listedAtMs }: KnownList): boolean {
    const ageMs = this.#clock() - listedAtMs;
    return ageMs >= 0 && ageMs < LIST_AGE_MS;
  }

  async #edges(
    topic: string,
    topicId: string,
    edge: (entries: readonly ArchiveEntry[]) => Position | undefined,
  ): Promise<Cut> {
    let cut: Cut = new Map();
    for (const partition of await this.partitions(topic)) {
      const found = edge(await this.entries(topic, topicId, partition));
      if (found !== undefined) cut = cutWith(cut, partition, found);
    }
    return cut;
  }

  /** Those that vanish while they are read have been replaced long ago. */
  async #documentsIn<T extends ArchiveEntry>(folder: string, schema: z.ZodType<T>): Promise<T[]> {
    const known = this.#documents.get(folder) as Map<string, T> | undefined;
    const found = new Map<string, T>();
    for (const name of await this.#data.list(folder)) {
      const document = known?.get(name) ?? (await this.#data.read(join(folder, name), schema));
      if (document !== null) found.set(name, document);
    }
    this.#documents.set(folder, found);
    return [...found.values()];
  }
}

function requireTopic(topic: string, topicId: string, entries: readonly ArchiveEntry[]): void {
  const stranger = entries.find((entry) => entry.topicId !== topicId);
  if (stranger !== undefined) throw topicRecreated(topic, stranger.topicId, topicId);
}

function beginningOf(topic: string, partition: number): string {
  return join(place(topic, partition), "begin.json");
}

function place(topic: string, partition: number): string {
  return join("archive", topic, String(partition));
}

/** An archiver's entry is named by where it begins, a merged one by its span. */
export function entryDocument(
  topic: string,
  partition: number,
  entry: Pick<ArchiveEntry, "from"> | MergedEntry,
): string {
  return isMerged(entry)
    ? documentOf(topic, partition, MERGED, entry.from, entry.to)
    : documentOf(topic, partition, ARCHIVED, entry.from);
}

function seenDocument(topic: string, partition: number, { from, to }: MergedEntry): string {
  return documentOf(topic, partition, SEEN, from, to);
}

function documentOf(topic: string, partition: number, folder: string, ...span: Position[]): string {
  return join(
    place(topic, partition),
    folder,
    `${span.map((offset) => String(offset).padStart(19, "0")).join("-")}.json`,
  );
}
