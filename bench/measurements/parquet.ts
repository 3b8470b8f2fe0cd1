import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { type Figure, figure } from "../setup/figure.ts";

const ROWS = 5_000_000;
const ROUNDS = 3;

/**
 * Why Parquet is DuckDB's: how many rows it writes (zstd) and aggregates a second; the ceiling is the same from memory,
 * without a file.
 */
export async function benchParquet(report: (line: string) => void): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), "tideline-bench-"));
  const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
  const duck = await instance.connect();
  const rate = async (sql: string) => {
    const startMs = performance.now();
    await duck.run(sql);
    return (ROWS / (performance.now() - startMs)) * 1_000;
  };
  await duck.run(
    "CREATE TABLE made AS SELECT i AS id, 'key-' || (i % 1000) AS key, (i * 7919) % " +
      `100000 AS amount, i * 10 AS time FROM range(${ROWS}) t(i)`,
  );
  const file = join(folder, "made.parquet");
  const group = (source: string) =>
    `SELECT key, count(*), sum(amount), min(time), max(time) FROM ${source} GROUP BY key`;
  const writes: { ours: number; ceiling: number }[] = [];
  const reads: { ours: number; ceiling: number }[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    report(`round ${round} of ${ROUNDS}`);
    writes.push({
      ours: await rate(`COPY made TO '${file}' (FORMAT parquet, COMPRESSION zstd)`),
      ceiling: await rate("CREATE OR REPLACE TABLE copied AS FROM made"),
    });
    reads.push({ ours: await rate(group(`'${file}'`)), ceiling: await rate(group("made")) });
  }
  duck.closeSync();
  instance.closeSync();
  await rm(folder, { recursive: true });
  return [
    figure("DuckDB writes Parquet, against a copy in memory", "rows/s", null, writes),
    figure("DuckDB aggregates Parquet, against memory", "rows/s", null, reads),
  ];
}
