import { quoteName, quoteText } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { parquetRowGroups } from "../../store/duckdb/parquet.ts";
import { withDuck } from "../duck-run.ts";
import type { BatchStores, Watch } from "../stores.ts";

/** A row group of an archive file: its number of records, and the range of their event times. */
export interface RowGroup {
  readonly records: number;
  /** Null if the file does not have the times, or was decoded by another revision of the contract. */
  readonly times: TimeRange | null;
}

type Footers = Map<string, readonly RowGroup[]>;

/** A footer never changes, so each is read once. */
const known = new WeakMap<BatchStores["pool"], Footers>();

/**
 * Returns the row groups of these entries' files, by file, from the statistics in the files' footers. A group without
 * events (only rejects) is left out. The footer of a damaged file is not used: the times in its entry count instead, so
 * that only those fail who need the file. If the entry has no times, the file may hold any time.
 */
export async function rowGroups(
  stores: Pick<BatchStores, "data" | "pool">,
  stream: Stream,
  entries: readonly ArchiveEntry[],
  watch: Watch,
): Promise<ReadonlyMap<string, readonly RowGroup[]>> {
  const footers = known.get(stores.pool) ?? new Map<string, readonly RowGroup[]>();
  known.set(stores.pool, footers);
  const files = entries.flatMap(({ file, ...entry }) => (file === null ? [] : [{ ...entry, file }]));
  const unknown = files.filter(({ file, contract }) => contract === stream.revision && !footers.has(file));
  const damaged = new Set((await stores.data.damaged(unknown)).map(({ file }) => file));
  const fresh = unknown.map(({ file }) => file).filter((file) => !damaged.has(file));
  if (fresh.length > 0)
    for (const [file, groups] of await readFooters(stores, stream.eventTime, fresh, watch)) footers.set(file, groups);
  return new Map(
    files.map(({ file, contract, records, times }) => {
      const ours = contract === stream.revision;
      const told = !ours || times === undefined ? [{ records, times: null }] : groupOf(records, times);
      return [file, (ours ? footers.get(file) : undefined) ?? told];
    }),
  );
}

/** Returns the events of a file as one group. */
function groupOf(records: number, times: TimeRange | null): RowGroup[] {
  return times === null ? [] : [{ records, times }];
}

/** Whether one of `groups` can hold an event of one of `ranges`. */
export function mayHold(groups: readonly RowGroup[], ranges: readonly TimeRange[]): boolean {
  return groups.some((group) => ranges.some((range) => overlaps(group, range)));
}

export function overlaps({ times }: RowGroup, { fromMs, toMs }: TimeRange): boolean {
  return times === null || (times.fromMs < toMs && times.toMs > fromMs);
}

/** Returns the range of event times of an archive relation's rows; null if it has no events. */
export async function eventTimesOf(duck: Duck, { eventTime }: Stream, relation: string): Promise<TimeRange | null> {
  const time = quoteName(eventTime);
  const [[first, last] = []] = await rowsOf(duck, `SELECT min(${time}), max(${time}) FROM ${relation}`);
  return first === null || first === undefined ? null : { fromMs: Number(first), toMs: Number(last) + 1 };
}

async function readFooters(
  stores: Pick<BatchStores, "data" | "pool">,
  eventTime: string,
  files: readonly string[],
  watch: Watch,
): Promise<Footers> {
  const names = new Map(files.map((file) => [stores.data.path(file), file]));
  const source = parquetRowGroups([...names.keys()]);
  const rows = await withDuck(stores, watch, (duck) =>
    rowsOf(
      duck,
      "SELECT file_name, row_group_num_rows, TRY_CAST(stats_min_value AS BIGINT), TRY_CAST(stats_max_value AS " +
        `BIGINT), stats_null_count FROM ${source} WHERE path_in_schema = ${quoteText(eventTime)}`,
    ),
  );
  const found = new Map<string, RowGroup[]>(files.map((file) => [file, []]));
  for (const [path, records, first, last, nulls] of rows) {
    if (records === nulls) continue;
    const times = first === null || last === null ? null : { fromMs: Number(first), toMs: Number(last) + 1 };
    found.get(names.get(String(path)) ?? "")?.push({ records: Number(records), times });
  }
  return found;
}
