import { afterAll, beforeAll } from "vitest";
import { type Duck, type DuckOptions, DuckPool } from "../store/duckdb/duck.ts";

/** A pool for the tests of a file: asked for within a test, for it is not there before. */
export function poolForTests(): () => DuckPool {
  let pool: DuckPool;
  beforeAll(async () => {
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512 });
  });
  afterAll(() => pool.close());
  return () => pool;
}

/**
 * A DuckDB connection for the tests of a file or of a `describe`: asked for within a test, for it is not there before.
 */
export function duckForTests(options: Partial<DuckOptions> = {}): () => Duck {
  let pool: DuckPool;
  let duck: Duck;
  beforeAll(async () => {
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, ...options });
    duck = await pool.connect();
  });
  afterAll(() => {
    duck.closeSync();
    pool.close();
  });
  return () => duck;
}
