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
 * The beginning of a partition's archive. Without this document, two archivers who see different log starts would begin
 * at two positions.
 */
const Beginning = z.strictObject({ from: z.string().regex(/^\d{1,19}$/), topicId: z.string() });

/**
 * How long replaced entries and their files stay. It is longer than an activity may take, plus the age of the oldest
 * list that it may begin with.
 */
export const REPLACED_GRACE_MS = 90 * 60_000;

/**
 * The greatest age of a list. It is far below the grace, so the entries in a list still exist, and so does the entry
 * after its last one.
 */
const LIST_AGE_MS = 5 * 60_000;

const ARCHIVED = "entries";
const MERGED = "merged";
const SEEN = "seen";
const CONTINUATIONS = "continuations";

/** All documents of a partition, from a fresh listing. */
export interface ArchiveListing {
  /** The entries that are read, in order. */
  readonly entries: readonly ArchiveEntry[];
  /** The entries that merged ones have replaced. */
  readonly replaced: readonly Replaced[];
}

/** The time when a sweep first found a merged entry published. */
const Seen = z.strictObject({ atMs: z.int() });

interface KnownList {
  readonly listedAtMs: EpochMs;
  readonly entries: readonly ArchiveEntry[];
}

/**
 * The archive's entries: `archive/<topic>/<partition>/entries/<from>.json`, created exclusively under their `from`. If
 * two archivers write the same span, one wins. The next entry's `from` is the previous one's `to`: entries tile the log
 * from the archive's beginning. A merged entry, `merged/<from>-<to>.json`, replaces the entries of its span from the
 * moment it exists. A list is kept for some minutes, and later entries are found by name, so the cost of a call does
 * not grow with history.
 */
export class Archive {
  readonly #data: DataDirectory;
  readonly #clock: () => EpochMs;
  /** The documents that were read, by folder and name. Documents never change, so each is read once. */
  readonly #documents = new Map<string, Map<string, ArchiveEntry>>();
  readonly #lists = new Map<string, KnownList>();
  /** The times when merged entries were first seen, by the name of that document. */
  readonly #seen = new Map<string, EpochMs>();

  constructor(data: DataDirectory, clock: () => EpochMs = Date.now) {
    this.#data = data;
    this.#clock = clock;
  }

  /** Returns the folder of a partition's Parquet files, relative to the data directory. */
  fileFolder(topic: string, partition: number): string {
    return join("archive", topic, String(partition), "files");
  }

  /**
   * Returns the entries of a partition in order. Throws ARCHIVE_DAMAGED when they do not tile, TOPIC_RECREATED when
   * they are of another topic.
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

  /** Lists the folders again. Throws as `entries` does. */
  async list(topic: string, topicId: string, partition: number): Promise<ArchiveListing> {
    for (let attempt = 1; ; attempt++) {
      const listedAtMs = this.#clock();
      // List merged entries first: the entries that they replace are deleted long after they appear.
      const merged = await this.#documentsIn(join(place(topic, partition), MERGED), MergedEntry);
      const archived = await this.#documentsIn(join(place(topic, partition), ARCHIVED), ArchiveEntry);
      requireTopic(topic, topicId, [...merged, ...archived]);
      const tiles = tileArchive(archived, merged);
      if (tiles.ok) {
        const { entries, replaced } = tiles;
        this.#lists.set(place(topic, partition), { listedAtMs, entries });
        return { entries, replaced };
      }
      // Listing a folder takes time. An apparent gap may have been filled while it was listed.
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

  /** Sets the beginning of a partition's archive, unless it is set already. Returns the position that counts. */
  async begin(topic: string, topicId: string, partition: number, from: Position): Promise<Position> {
    const name = beginningOf(topic, partition);
    const known = await this.#data.read(name, Beginning);
    const wanted = { from: from.toString(), topicId };
    if (known === null) await this.#data.createExclusively(name, wanted);
    const held = known ?? (await this.#data.read(name, Beginning)) ?? wanted;
    if (held.topicId !== topicId) throw topicRecreated(topic, held.topicId, topicId);
    return position(held.from);
  }

  /** Returns the beginning of a partition's archive. Null before it is set. */
  async beginning(topic: string, partition: number): Promise<Position | null> {
    const fixed = await this.#data.read(beginningOf(topic, partition), Beginning);
    return fixed === null ? null : position(fixed.from);
  }

  /** Returns the partitions whose archive has begun. */
  async partitions(topic: string): Promise<number[]> {
    return (await this.#data.list(join("archive", topic))).map(Number).sort((a, b) => a - b);
  }

  /** Returns the beginning of the archive, for each partition that has begun. */
  async start(topic: string, topicId: string): Promise<Cut> {
    return this.#edges(topic, topicId, (entries) => entries[0]?.from);
  }

  /** Returns the end of the archive, for each partition that has begun. */
  async archived(topic: string, topicId: string): Promise<Cut> {
    return this.#edges(topic, topicId, (entries) => entries.at(-1)?.to);
  }

  /** Returns the end of the archive of each partition with entries, and the record that the log must have below it. */
  async tails(topic: string, topicId: string): Promise<ReadonlyMap<number, ArchiveTail>> {
    const tails = new Map<number, ArchiveTail>();
    for (const partition of await this.partitions(topic)) {
      const tail = await this.tail(topic, topicId, partition);
      if (tail !== null) tails.set(partition, tail);
    }
    return tails;
  }

  /** Returns the same as `tails`, for one partition. Null when it has no entries. */
  async tail(topic: string, topicId: string, partition: number): Promise<ArchiveTail | null> {
    const entries = await this.entries(topic, topicId, partition);
    return tailOf(entries, await this.continuation(topic, topicId, partition));
  }

  /** Returns the newest document that accepts a log for a partition although it differs from the archive. */
  async continuation(topic: string, topicId: string, partition: number): Promise<LogContinuation | null> {
    const folder = join(place(topic, partition), CONTINUATIONS);
    const name = (await this.#data.list(folder)).at(-1);
    const newest = name === undefined ? null : await this.#data.read(join(folder, name), LogContinuation);
    return newest?.topicId === topicId ? newest : null;
  }

  /** Accepts a log for a partition. Returns false if a document with that number exists. */
  async accept(topic: string, partition: number, continuation: LogContinuation): Promise<boolean> {
    const name = `${String(continuation.number).padStart(9, "0")}.json`;
    const document = z.encode(LogContinuation, continuation);
    return this.#data.createExclusively(join(place(topic, partition), CONTINUATIONS, name), document);
  }

  /**
   * Returns the entries that contain `[from, to)` of a partition. The first and last may reach beyond it. Throws
   * ARCHIVE_DAMAGED when entries are missing, LOG_LOST when the partition's archive begins after `from`.
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
   * Adds an entry. Returns true if this entry is published. Returns false if another archiver was first with the same
   * `from`; the entry's file is then deleted.
   */
  async create(topic: string, partition: number, entry: ArchiveEntry): Promise<boolean> {
    return this.#publish(entryDocument(topic, partition, entry), entry, ArchiveEntry);
  }

  /** Replaces entries by the one that they were merged into, unless that was done. Returns as `create` does. */
  async createMerged(topic: string, partition: number, entry: ArchiveEntry): Promise<boolean> {
    const merged: MergedEntry = { ...entry, createdAtMs: this.#clock() };
    return this.#publish(entryDocument(topic, partition, merged), merged, MergedEntry);
  }

  /**
   * Every attempt writes a file of its own. So a published entry that names this file belongs to this attempt, whatever
   * the file system reported.
   */
  async #publish<T extends ArchiveEntry>(name: string, entry: T, schema: z.ZodType<T>): Promise<boolean> {
    if (await this.#data.createExclusively(name, z.encode(schema, entry))) return true;
    if (entry.file === null) return false;
    if ((await this.#data.read(name, schema))?.file === entry.file) return true;
    await this.#data.remove(entry.file);
    return false;
  }

  /**
   * Whether the entries that a merged entry has replaced are no longer read by any process. The grace begins when a
   * sweep first finds the merged entry. `createdAtMs` cannot be used: the process may have slept between taking that
   * time and publishing the entry.
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

  /** Deletes the document of a replaced entry. */
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

  /**
   * Reads the documents of a folder. A document that disappears during the reading was replaced long ago, so it is left
   * out.
   */
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

/** Returns the name of an entry's document. An archiver's entry is named by its beginning, a merged one by its span. */
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
