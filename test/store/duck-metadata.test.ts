import { mkdtemp, rename, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Duck, DuckPool, rowsOf } from "../../store/duckdb/duck.ts";

let folder: string;
let pool: DuckPool;
let duck: Duck;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-duck-metadata-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 128, directories: [folder], keepsMetadata: true });
  duck = await pool.connect();
});

afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true });
});

async function write(name: string, rows: number, modified: string): Promise<string> {
  const path = join(folder, name);
  await duck.run(`COPY (SELECT range AS n FROM range(${rows})) TO '${path}' (FORMAT parquet)`);
  await utimes(path, new Date(modified), new Date(modified));
  return path;
}

test("a pool that keeps the metadata of files sees that a file was replaced", async () => {
  expect(await rowsOf(duck, "SELECT current_setting('parquet_metadata_cache')")).toEqual([[true]]);
  const path = await write("a.parquet", 10, "2026-01-01T00:00:00Z");
  const count = () => rowsOf(duck, `SELECT count(*), max(n) FROM '${path}'`);
  expect(await count()).toEqual([[10n, 9n]]);
  expect(await count()).toEqual([[10n, 9n]]);
  await rename(await write("b.parquet", 12, "2026-01-02T00:00:00Z"), path);
  expect(await count()).toEqual([[12n, 11n]]);
});
