import type { View } from "../../../core/definition/view.ts";
import type { StateFile } from "../../../core/log/documents.ts";
import { entryOf, indexSql, keyColumns } from "../../../core/query/tables/table-index.ts";
import type { StoredFilter, TopOrder } from "../../../core/query/top-order.ts";
import { parquetRows } from "../../../store/duckdb/parquet.ts";
import type { BatchPlan, Statement } from "./batch-sql.ts";

/** Entries of one lookup, at most: for more keys than this a scan of all rows takes no longer. */
export const MOST_ENTRIES = 10_000;
/** State rows that a lookup scans, at most: of files without an index. */
const MOST_SCANNED_ROWS = 200_000;

/** A file that a manifest names, with its checksum. */
export type NamedFile = Pick<StateFile, "file" | "checksum">;

/**
 * A statement that returns the keys, some of them twice, whose rows a filter may leave: at most `MOST_ENTRIES`, and one
 * more when there are more.
 */
export interface IndexLookup {
  readonly files: readonly NamedFile[];
  readonly statement: (paths: readonly string[]) => Statement;
}

/**
 * The lookups that find all settled keys that `order` leaves, one for each of its filters on a column with an index;
 * any one of them is enough. What has no stored value has no entry either: so null of a measure is not looked up.
 */
export function lookupsOf(files: readonly StateFile[], { view, everyMs }: BatchPlan, order: TopOrder): IndexLookup[] {
  const { table } = view;
  // All shards of a table lie in one bucket of the answer, but for those that a proof asks for.
  if (table === null || everyMs !== table.shards) return [];
  return (order.filters ?? []).flatMap((filter) => {
    const isLookedUp = filter.by !== "component" || !filter.values.includes(null);
    return table.indexes.includes(filter.column) && isLookedUp ? lookupOf(files, view, filter) : [];
  });
}

/** A file of a release without indexes, or of before the column was declared, has none: its rows are scanned. */
function lookupOf(files: readonly StateFile[], view: View, filter: StoredFilter): IndexLookup[] {
  const { column, values } = filter;
  const indexes: NamedFile[] = [];
  const scanned: StateFile[] = [];
  for (const file of files) {
    if (file.index?.columns.includes(column)) indexes.push(file.index);
    else scanned.push(file);
  }
  if (scanned.reduce((sum, { rows }) => sum + rows, 0) > MOST_SCANNED_ROWS) return [];
  const entries = values.map((value) => `${entryOf(column, value)}::UBIGINT`);
  const wanted = entries.length === 0 ? "false" : `_entry IN (${entries.join(", ")})`;
  const key = keyColumns(view);
  const statement = (paths: readonly string[]): Statement => {
    const [indexed, others] = [paths.slice(0, indexes.length), paths.slice(indexes.length)];
    const sources = [
      ...(indexed.length === 0 ? [] : [parquetRows(indexed)]),
      ...(others.length === 0 ? [] : [`(${indexSql(view, [column], parquetRows(others))})`]),
    ];
    const found = sources.map((source) => `SELECT ${key} FROM ${source} WHERE ${wanted}`);
    return { sql: `${found.join(" UNION ALL ")} LIMIT ${MOST_ENTRIES + 1}`, values: [] };
  };
  return [{ files: [...indexes, ...scanned], statement }];
}
