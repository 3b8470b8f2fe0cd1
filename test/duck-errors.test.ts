import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { refusalOf } from "../serving/common/problem.ts";
import { recomputingRefused } from "../serving/read/recomputations.ts";
import { type Duck, DuckPool } from "../store/duckdb/duck.ts";
import { isOverflow, namedDuckError } from "../store/duckdb/duck-errors.ts";

let folder: string;
let pool: DuckPool;
let duck: Duck;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-duck-errors-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 128, directories: [folder] });
  duck = await pool.connect();
});

afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true });
});

const failure = (sql: string) => duck.run(sql).catch((error: unknown) => error);

test("a file that goes away, or is no Parquet, after it was checked is ARCHIVE_DAMAGED for the batch layer and for questions", async () => {
  await writeFile(join(folder, "text.parquet"), "this is a text that is long enough to be a file");
  await writeFile(join(folder, "short.parquet"), "x");
  for (const name of ["gone", "text", "short"]) {
    const error = await failure(`SELECT * FROM read_parquet('${join(folder, name)}.parquet')`);
    expect(namedDuckError(error), name).toMatchObject({ code: "ARCHIVE_DAMAGED" });
    expect(recomputingRefused(error, "127.0.0.1:1"), name).toMatchObject({ code: "ARCHIVE_DAMAGED" });
  }
});

test("a sum that leaves 64 bits is STATE_OVERFLOW, and any other error stays what it is", async () => {
  const error = await failure("SELECT (9223372036854775807::HUGEINT + 1)::BIGINT");
  expect(isOverflow(error)).toBe(true);
  expect(namedDuckError(error)).toMatchObject({ code: "STATE_OVERFLOW" });
  expect(refusalOf(namedDuckError(error)).problem).toMatchObject({
    status: 500,
    code: "STATE_OVERFLOW",
    detail: expect.stringMatching(/out of range.*\. Lower the bounds in the stream's contract/),
  });
  const other = await failure("SELECT no_such_column");
  expect(namedDuckError(other)).toBe(other);
});
