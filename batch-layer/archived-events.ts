import type { ArchiveEntry } from "../core/documents.ts";
import { TidelineError } from "../core/errors.ts";
import { at, type Cut, partitionsOf, position } from "../core/position.ts";
import type { Duck } from "../store/duck.ts";
import { numbersOf, parquet } from "./duck-run.ts";
import type { BatchStores, StreamTarget } from "./stores.ts";

/** What the entries of a span say about it. */
export type EntryCounts = Pick<ArchiveEntry, "records" | "duplicates" | "rejects">;

export interface ArchivedEvents {
  /** SQL: the events of the span; null when it holds none. */
  readonly relation: string | null;
  /**
   * By partition, what its entries count, where they cover exactly the span: an entry that straddles a border counts
   * more.
   */
  readonly counts: ReadonlyMap<number, EntryCounts>;
}

/**
 * The archived events of `[from, to)`, of the entries that `wanted` is true for. Entries may straddle a border, so rows are
 * taken by offset.
 * Throws ARCHIVE_DAMAGED when the archive does not hold the span as its entries say, DEFINITION_INVALID when it was
 * decoded by another contract.
 */
export async function archivedEvents(
  stores: BatchStores,
  duck: Duck,
  target: StreamTarget,
  topicId: string,
  from: Cut,
  to: Cut,
  wanted: (entry: ArchiveEntry) => boolean = () => true,
): Promise<ArchivedEvents> {
  const { topic, stream } = target;
  const files: { file: string; records: number }[] = [];
  const spans: string[] = [];
  const counts = new Map<number, EntryCounts>();
  for (const partition of partitionsOf(from, to)) {
    const [first, last] = [at(from, partition), at(to, partition)];
    const entries = (await stores.archive.covering(topic, topicId, partition, first, last)).filter(wanted);
    requireContract(entries, target);
    const held = entries.flatMap(({ file, records }) => (file === null ? [] : [{ file, records }]));
    files.push(...held);
    if (held.length > 0) spans.push(`(_partition = ${partition} AND _offset >= ${first} AND _offset < ${last})`);
    const exact =
      entries.length === 0 || (position(entries[0]?.from ?? 0) === first && position(entries.at(-1)?.to ?? 0) === last);
    if (exact) counts.set(partition, entries.reduce(addCounts, { records: 0, duplicates: 0, rejects: 0 }));
  }
  if (files.length === 0) return { relation: null, counts };
  await requireRows(stores, duck, stream.name, files);
  const source = parquet(
    stores,
    files.map(({ file }) => file),
  );
  return { relation: `(SELECT * FROM ${source} WHERE ${spans.join(" OR ")})`, counts };
}

function addCounts(sum: EntryCounts, entry: EntryCounts): EntryCounts {
  return {
    records: sum.records + entry.records,
    duplicates: sum.duplicates + entry.duplicates,
    rejects: sum.rejects + entry.rejects,
  };
}

function requireContract(entries: readonly ArchiveEntry[], { stream, topic }: StreamTarget): void {
  const other = entries.find(({ contract }) => contract !== stream.revision);
  if (other === undefined) return;
  throw new TidelineError(
    "DEFINITION_INVALID",
    `${topic}: [${other.from}, ${other.to}) was archived by revision ${other.contract} of its stream, now at ${stream.revision}`,
    "Decoding original bytes again is not built yet: go back to that revision, or archive anew in another data directory.",
  );
}

async function requireRows(
  stores: BatchStores,
  duck: Duck,
  stream: string,
  files: readonly { file: string; records: number }[],
): Promise<void> {
  const list = parquet(
    stores,
    files.map(({ file }) => file),
  ).replace("read_parquet", "parquet_file_metadata");
  const [rows] = await numbersOf(duck, `SELECT sum(num_rows) FROM ${list}`);
  const records = files.reduce((sum, file) => sum + file.records, 0);
  if (rows === records) return;
  throw new TidelineError(
    "ARCHIVE_DAMAGED",
    `${stream}: ${files.length} archive files hold ${rows} records, and their entries count ${records}`,
    "Restore the files from a copy of the data directory.",
  );
}
