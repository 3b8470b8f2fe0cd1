import { quoteText } from "../../core/contract/sql.ts";
import { TidelineError } from "../../core/errors.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { position } from "../../core/log/position.ts";
import { lastMarked } from "../../store/archive/archive-tail.ts";
import type { SpanSource } from "../../store/decode/span-events.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { parquetRows } from "../../store/duckdb/parquet.ts";
import { withDuck } from "../duck-run.ts";
import type { BatchStores, StreamTarget, Watch } from "../stores.ts";
import { eventTimesOf } from "./event-times.ts";
import { type ArchiveMerge, MERGE_LIMITS, type MergeLimits, planMerges } from "./merge-plan.ts";

/**
 * Compaction of the archive: several small files become one larger file with one entry. Each step may be repeated, run
 * twice at once, or be the last:
 *
 *   planCompaction   chooses the files              merge-plan.ts
 *   mergeEntries     writes the file and checks it  under a name of its own
 *                    creates its entry              from now on it is read in place of the small files
 *   sweepArchive     deletes the small files        when grace is over: archive-sweep.ts
 */

export interface CompactionPlan {
  readonly topicId: string;
  /** At most `PLANNED_AT_ONCE`. Further merges are planned when these are done. */
  readonly merges: readonly ArchiveMerge[];
}

const PLANNED_AT_ONCE = 200;

/** Returns the merges that are worth doing now. Throws TOPIC_RECREATED, TOPIC_MISSING, ARCHIVE_DAMAGED. */
export async function planCompaction(
  { archive, log }: Pick<BatchStores, "archive" | "log">,
  { topic }: StreamTarget,
  limits: MergeLimits = MERGE_LIMITS,
): Promise<CompactionPlan> {
  const { id: topicId } = await log.topic(topic);
  const merges: ArchiveMerge[] = [];
  for (const partition of await archive.partitions(topic))
    merges.push(...planMerges(partition, (await archive.list(topic, topicId, partition)).entries, limits));
  return { topicId, merges: merges.slice(0, PLANNED_AT_ONCE) };
}

/** A published merge; null if it was published before. */
export type Merged = Pick<ArchiveEntry, "records" | "sizeBytes"> & { readonly entries: number };

/**
 * Merges the entries of one span. Checks the source files against their checksums, and the result against the sources,
 * because the sources are deleted later. Throws ARCHIVE_DAMAGED.
 */
export async function mergeEntries(
  stores: BatchStores,
  source: SpanSource,
  { partition, from, to }: ArchiveMerge,
  watch: Watch,
): Promise<Merged | null> {
  const { archive, data } = stores;
  const { topic, topicId } = source;
  const span = { from: position(from), to: position(to) };
  const { entries: all } = await archive.list(topic, topicId, partition);
  const entries = all.filter((entry) => entry.from >= span.from && entry.to <= span.to);
  if (entries.length < 2 || entries[0]?.from !== span.from || entries.at(-1)?.to !== span.to) return null;
  const sources = entries.flatMap(({ file }) => (file === null ? [] : [file]));
  for (const entry of entries) {
    watch.signal.throwIfAborted();
    await data.requireIntact([entry], { readAgain: true });
    watch.beat({ partition, checked: String(entry.to) });
  }
  const total = mergedEntry(entries);
  const written =
    sources.length === 0
      ? { file: null, checksum: null, sizeBytes: 0 }
      : await withDuck(stores, watch, (duck) => writeMerged(stores, duck, source, { partition, total, sources }));
  const entry: ArchiveEntry = { ...total, ...written };
  watch.signal.throwIfAborted();
  const done = await archive.createMerged(topic, partition, entry);
  return done ? { entries: entries.length, records: entry.records, sizeBytes: entry.sizeBytes } : null;
}

/** Returns the sum of several entries. They are successive, of one topic and one contract. */
function mergedEntry(entries: readonly ArchiveEntry[]): Omit<ArchiveEntry, "file" | "checksum" | "sizeBytes"> {
  const [first, last] = [entries[0], entries.at(-1)];
  if (first === undefined || last === undefined) throw new RangeError("nothing to merge");
  const mark = lastMarked(entries)?.mark;
  const sum = (field: "records" | "duplicates" | "rejects" | "control") =>
    entries.reduce((total, entry) => total + entry[field], 0);
  return {
    from: first.from,
    to: last.to,
    records: sum("records"),
    duplicates: sum("duplicates"),
    rejects: sum("rejects"),
    control: sum("control"),
    topicId: last.topicId,
    leaderEpoch: last.leaderEpoch,
    contract: last.contract,
    ...(mark === undefined ? {} : { mark }),
  };
}

/** The files of a partition, and the entry that sums them up. */
interface MergedFiles {
  readonly partition: number;
  readonly total: Omit<ArchiveEntry, "file" | "checksum" | "sizeBytes">;
  readonly sources: readonly string[];
}

async function writeMerged(
  stores: BatchStores,
  duck: Duck,
  { topic, stream }: StreamTarget,
  { partition, total, sources }: MergedFiles,
): Promise<Pick<ArchiveEntry, "file" | "checksum" | "sizeBytes" | "times">> {
  const { data, archive } = stores;
  const { from, to, records, duplicates, rejects, contract } = total;
  const prefix = `merged-${[from, to].map((offset) => String(offset).padStart(19, "0")).join("-")}`;
  const file = await data.attempt(archive.fileFolder(topic, partition), prefix, "parquet");
  // The rows stay in the order of the files, which is the order of the log.
  const source = parquetRows(
    sources.map((name) => data.path(name)),
    { mayLackColumns: true },
  );
  try {
    await duck.run(
      `COPY (SELECT * FROM ${source}) TO ${quoteText(data.path(file))} (FORMAT ` +
        "parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000)",
    );
    const [was, is] = [await contentOf(duck, source), await contentOf(duck, parquetRows([data.path(file)]))];
    const wanted = { records, duplicates, rejects, disordered: 0 };
    const wrong =
      Object.entries(wanted).some(([name, number]) => is[name as keyof typeof wanted] !== number) ||
      is.fingerprint !== was.fingerprint ||
      (is.lowest !== null && (is.lowest < from || is.highest >= to));
    if (wrong) {
      const shown = JSON.stringify({ was, is, wanted }, (_, value) =>
        typeof value === "bigint" ? String(value) : value,
      );
      throw damaged(
        `${file} does not hold what it was merged from: ${shown}`,
        "It was not published; see whether the disk is full or failing.",
      );
    }
    // For a file of another revision of the contract, the column of the event time is not known here.
    const times = contract === stream.revision ? { times: await eventTimesOf(duck, stream, source) } : {};
    return { file, ...times, ...(await data.settle(file)) };
  } catch (error) {
    await data.remove(file);
    throw error;
  }
}

interface Content {
  readonly records: number;
  readonly duplicates: number;
  readonly rejects: number;
  /** How many rows do not come after the row before. */
  readonly disordered: number;
  readonly lowest: bigint | null;
  readonly highest: bigint;
  /** A hash of all columns of all rows, in any order. */
  readonly fingerprint: string;
}

async function contentOf(duck: Duck, relation: string): Promise<Content> {
  const [row = []] = await rowsOf(
    duck,
    `SELECT count(*), count(*) FILTER (_duplicate), count(*) FILTER (_reject IS NOT NULL),
       count(*) FILTER (_offset <= before), min(_offset), max(_offset), sum(fingerprint)::VARCHAR
     FROM (SELECT _duplicate, _reject, _offset, lag(_offset) OVER () AS before, hash(source) AS fingerprint
       FROM ${relation} source)`,
  );
  const [records, duplicates, rejects, disordered] = row.slice(0, 4).map(Number);
  const [lowest, highest, fingerprint] = row.slice(4);
  return {
    records: records ?? 0,
    duplicates: duplicates ?? 0,
    rejects: rejects ?? 0,
    disordered: disordered ?? 0,
    lowest: lowest as bigint | null,
    highest: (highest as bigint | null) ?? 0n,
    fingerprint: String(fingerprint),
  };
}

function damaged(message: string, hint: string): TidelineError {
  return new TidelineError("ARCHIVE_DAMAGED", message, hint);
}
