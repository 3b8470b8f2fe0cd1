import { quoteText } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import type { StateFile } from "../../core/log/documents.ts";
import { cellColumns } from "../../core/state/compile.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { numbersOf, parquet } from "../duck-run.ts";
import type { BatchStores } from "../stores.ts";
import { type StatePlace, withIndex } from "./state-index.ts";

/** State rows to write, and the view that they belong to. */
export interface StateRows {
  readonly view: View;
  readonly select: string;
}

/**
 * Writes state rows to a new Parquet file at `place`, sorted so that readers can skip row groups, and checks it. For a
 * table also writes its index. Returns null if there are no rows. The files belong to nothing until a manifest names
 * them.
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

/**
 * Returns the order of the rows. Queries of a view choose times; those of a table choose keys, and a shard has many
 * keys.
 */
function orderOf(view: View): string {
  return view.table === null ? "bucket" : cellColumns(view).join(", ");
}

/**
 * Returns the size of row groups. A query for one key reads a whole row group, so they must not be large. They must not
 * be small either: DuckDB looks at the statistics of each, which takes as long as reading some hundred rows.
 */
function rowGroups({ table }: View): string {
  return table === null ? "" : ", ROW_GROUP_SIZE 32768";
}
