import { quoteText } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import type { StateFile } from "../../core/log/documents.ts";
import { indexSql, keyColumns } from "../../core/query/tables/table-index.ts";
import { indexFolderOf } from "../../store/archive/manifests.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { numbersOf, parquet } from "../duck-run.ts";
import type { BatchStores } from "../stores.ts";

/** The folder of a state file, and the prefix of its name. */
export interface StatePlace {
  readonly folder: string;
  readonly prefix: string;
}

/**
 * Returns a state file with an index of the columns that its table declares. Returns the file as it is if there are no
 * such columns, or if the file is outside of the folder whose files manifests name. Throws DuckDB's errors; no index is
 * left then.
 */
export async function withIndex(
  stores: BatchStores,
  duck: Duck,
  { view, states }: { readonly view: View; readonly states: StateFile },
  { folder, prefix }: StatePlace,
): Promise<StateFile> {
  const columns = view.table?.indexes ?? [];
  const indexes = indexFolderOf(folder);
  if (columns.length === 0 || indexes === null) return states;
  const { data } = stores;
  const file = await data.attempt(indexes, prefix, "parquet");
  try {
    const entries = indexSql(view, columns, parquet(stores, [states.file]));
    const [rows = 0] = await numbersOf(
      duck,
      `COPY (SELECT * FROM (${entries}) ORDER BY _entry, ${keyColumns(view)}) TO ${quoteText(data.path(file))} ` +
        "(FORMAT parquet, COMPRESSION zstd, WRITE_BLOOM_FILTER false, ROW_GROUP_SIZE 32768)",
    );
    return { ...states, index: { file, columns: [...columns], rows, ...(await data.settle(file)) } };
  } catch (error) {
    await data.remove(file);
    throw error;
  }
}

/** Deletes a state file and its index. */
export async function removeStates(data: DataDirectory, { file, index }: StateFile): Promise<void> {
  await data.remove(file);
  if (index !== undefined) await data.remove(index.file);
}
