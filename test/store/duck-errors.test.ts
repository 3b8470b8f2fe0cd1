import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { refusalOf } from "../../serving/common/problem.ts";
import { recomputingRefused } from "../../serving/read/recomputations.ts";
import { type Duck, DuckPool } from "../../store/duckdb/duck.ts";
import { isOverflow, namedDuckError, sqlFailed } from "../../store/duckdb/duck-errors.ts";

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

test("a file that goes away, or is not Parquet, after it was checked is ARCHIVE_DAMAGED for the batch layer and for questions", async () => {
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

test("SQL is blamed for values that it cannot take, and not for a lack of memory or an error of the program", async () => {
  const code = async (cause: unknown) =>
    sqlFailed("revenue", await cause, { code: "VIEW_FAILED", hint: "Guard it." }).code;
  for (const sql of [
    "SELECT CAST('x' AS BIGINT)",
    "SELECT 9223372036854775807 + 1",
    "SELECT sum(missing) FROM range(3)",
    "SELECT error('negative')",
    "SELECT (-1)::UTINYINT",
  ])
    expect(await code(failure(sql)), sql).toBe("VIEW_FAILED");
  const large = "SELECT list(t) FROM (SELECT i::VARCHAR || repeat('x', 100) AS t FROM range(3000000) AS r(i))";
  expect(await code(failure(large))).toBe("COMPUTATION_FAILED");
  expect(await code(new TypeError("Cannot read properties of undefined"))).toBe("COMPUTATION_FAILED");
});
