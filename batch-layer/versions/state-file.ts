import { quoteText } from "../../core/contract/sql.ts";
import { TidelineError } from "../../core/errors.ts";
import type { StateFile } from "../../core/log/documents.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { numbersOf, parquet } from "../duck-run.ts";
import type { BatchStores } from "../stores.ts";

/**
 * Writes the state rows of `select` to a fresh Parquet file in `folder`, in the order of their buckets, which is what readers choose by, and checks
 * it. Null when there are none. The file is not part of anything until a manifest names it.
 */
export async function writeStates(
  stores: BatchStores,
  duck: Duck,
  select: string,
  folder: string,
  prefix: string,
): Promise<StateFile | null> {
  const { data } = stores;
  const file = await data.attempt(folder, prefix, "parquet");
  try {
    const [written] = await numbersOf(
      duck,
      `COPY (SELECT * FROM (${select}) ORDER BY bucket) TO ${quoteText(data.path(file))} (FORMAT parquet, COMPRESSION zstd, WRITE_BLOOM_FILTER false)`,
    );
    const [rows = 0] = await numbersOf(duck, `SELECT count(*) FROM ${parquet(stores, [file])}`);
    if (rows !== written)
      throw new TidelineError(
        "ARCHIVE_DAMAGED",
        `${file} holds ${rows} states, not ${written}`,
        "It was not published; see whether the disk is full or failing.",
      );
    if (rows > 0) return { file, rows, ...(await data.settle(file)) };
  } catch (error) {
    await data.remove(file);
    throw error;
  }
  await data.remove(file);
  return null;
}
