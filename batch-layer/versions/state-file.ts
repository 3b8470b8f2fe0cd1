import { quoteText } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import type { StateFile } from "../../core/log/documents.ts";
import { cellColumns } from "../../core/state/compile.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { numbersOf, parquet } from "../duck-run.ts";
import type { BatchStores } from "../stores.ts";
import { type StatePlace, withIndex } from "./state-index.ts";

/** State rows that are to be written, and the view that they are of. */
export interface StateRows {
  readonly view: View;
  readonly select: string;
}

/**
 * Writes state rows to a fresh Parquet file at `place`, in the order that readers choose by, and checks it; and the
 * index of its table. Null when there are none. The files are not part of anything until a manifest names them.
 */
export async function writeStates(
  stores: BatchStores,
  duck: Duck,
  { view, select }: StateRows,
  place: StatePlace,
): Promise<StateFile | null> {
  const { data } = stores;
  const file = await data.attempt(place.folder, place.prefix, "parquet");
  try {
    const [written] = await numbersOf(
      duck,
      `COPY (SELECT * FROM (${select}) ORDER BY ${orderOf(view)}) TO ${quoteText(data.path(file))} ` +
        `(FORMAT parquet, COMPRESSION zstd, WRITE_BLOOM_FILTER false${rowGroups(view)})`,
    );
    const [rows = 0] = await numbersOf(duck, `SELECT count(*) FROM ${parquet(stores, [file])}`);
    if (rows !== written)
      throw new TidelineError(
        "ARCHIVE_DAMAGED",
        `${file} holds ${rows} states, not ${written}`,
        "It was not published; see whether the disk is full or failing.",
      );
    const states = { file, rows, ...(await data.settle(file)) };
    if (rows > 0) return await withIndex(stores, duck, { view, states }, place);
  } catch (error) {
    await data.remove(file);
    throw error;
  }
  await data.remove(file);
  return null;
}

/** Questions of a view are about times; those of a table about keys, of which a shard has many. */
function orderOf(view: View): string {
  return view.table === null ? "bucket" : cellColumns(view).join(", ");
}

/**
 * A question for one key reads a row group: not the largest ones, but not small ones either, because DuckDB looks at
 * the statistics of each, which takes as long as to read some hundred rows.
 */
function rowGroups({ table }: View): string {
  return table === null ? "" : ", ROW_GROUP_SIZE 32768";
}
