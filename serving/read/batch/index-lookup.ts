import type { View } from "../../../core/definition/view.ts";
import type { StateFile } from "../../../core/log/documents.ts";
import { entryOf, indexSql, keyColumns } from "../../../core/query/tables/table-index.ts";
import type { StoredFilter, TopOrder } from "../../../core/query/top-order.ts";
import { parquetRows } from "../../../store/duckdb/parquet.ts";
import type { BatchPlan, Statement } from "./batch-sql.ts";

/** The most entries that a lookup may return: for more keys than this a scan of all rows takes no longer. */
export const MOST_ENTRIES = 10_000;
/** The most state rows that a lookup scans, in files without an index. */
const MOST_SCANNED_ROWS = 200_000;

/** A file that a manifest names, with its checksum. */
export type NamedFile = Pick<StateFile, "file" | "checksum">;

/**
 * A statement that returns all keys that a filter may allow; a key may come twice. It returns at most `MOST_ENTRIES`
 * rows, or one more if there are more.
 */
export interface IndexLookup {
  readonly files: readonly NamedFile[];
  readonly statement: (paths: readonly string[]) => Statement;
}

/**
 * Returns the lookups that each find all settled keys that `order` allows: one for each filter of `order` on an indexed
 * column. Any one of them is enough. A null measure has no stored value and so no entry, so null is not looked up.
 */
export function lookupsOf(files: readonly StateFile[], { view, everyMs }: BatchPlan, order: TopOrder): IndexLookup[] {
  const { table } = view;
  // Usually all shards of a table are in one bucket of the answer. Only proofs ask for single shards.
  if (table === null || everyMs !== table.shards) return [];
  return (order.filters ?? []).flatMap((filter) => {
    const isLookedUp = filter.by !== "component" || !filter.values.includes(null);
    return table.indexes.includes(filter.column) && isLookedUp ? lookupOf(files, view, filter) : [];
  });
}

/**
 * A file from a release without indexes, or from before the column was declared, has no index, so its rows are scanned.
 */
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
