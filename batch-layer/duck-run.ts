import { type Duck, rowsOf } from "../store/duckdb/duck.ts";
import { namedDuckError } from "../store/duckdb/duck-errors.ts";
import { parquetRows } from "../store/duckdb/parquet.ts";
import type { BatchStores, Watch } from "./stores.ts";

/**
 * Runs `work` on a connection of its own and closes it afterwards. An abort interrupts the running query. Throws
 * STATE_OVERFLOW when a sum leaves 64 bits, ARCHIVE_DAMAGED when a published file cannot be read.
 */
export async function withDuck<T>(
  { pool }: Pick<BatchStores, "pool">,
  { signal }: Watch,
  work: (duck: Duck) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const duck = await pool.connect();
  const interrupt = () => duck.interrupt();
  signal.addEventListener("abort", interrupt, { once: true });
  try {
    return await work(duck);
  } catch (error) {
    signal.throwIfAborted();
    throw namedDuckError(error);
  } finally {
    signal.removeEventListener("abort", interrupt);
    duck.closeSync();
  }
}

/** Returns the only row of a query whose columns are all numbers. */
export async function numbersOf(duck: Duck, sql: string): Promise<number[]> {
  return ((await rowsOf(duck, sql))[0] ?? []).map(Number);
}

/** SQL: all rows of these files (names below the data directory). */
export function parquet({ data }: Pick<BatchStores, "data">, files: readonly string[]): string {
  return parquetRows(files.map((file) => data.path(file)));
}
