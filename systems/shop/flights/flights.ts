import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { TidelineError } from "../../../core/errors.ts";
import { type Duck, DuckPool, rowsOf } from "../../../store/duckdb/duck.ts";
import { parquetRows } from "../../../store/duckdb/parquet.ts";

export interface SourceFlight {
  /** The flight's row number in the source, 0-based. */
  readonly row: number;
  /** When it left, epoch ms; never earlier than the flight before. */
  readonly departedAt: number;
  readonly origin: string;
  /** The record's value: a JSON object with the contract's fields in the contract's order. */
  readonly json: string;
}

export interface FlightsSource {
  readonly rows: number;
  /** The flights with row numbers `from` up to but not including `to`, in row order, some thousand at a time. */
  read(from: number, to: number): AsyncGenerator<readonly SourceFlight[]>;
  close(): void;
}

/** Where the data set is; throws TidelineError INPUT_MISSING when its package is not installed. */
export function flightsFile(resolve: (name: string) => string = createRequire(import.meta.url).resolve): string {
  const hint = "install it with `npm install vega-datasets`";
  let entry: string;
  try {
    entry = resolve("vega-datasets");
  } catch (cause) {
    throw new TidelineError(
      "INPUT_MISSING",
      "the flights are part of the package vega-datasets, which is not installed",
      hint,
      {
        cause,
      },
    );
  }
  // The package does not export its data files, so the way to them starts at its entry, build/index.js.
  const file = join(dirname(entry), "..", "data", "flights-3m.parquet");
  if (existsSync(file)) return file;
  throw new TidelineError(
    "INPUT_MISSING",
    `the package vega-datasets has no file data/flights-3m.parquet`,
    `${hint}@3`,
  );
}

/** Opens a Parquet file of flights (date, delay, distance, origin, destination), sorted by date. */
export async function openFlights(file: string): Promise<FlightsSource> {
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [dirname(file)] });
  const duck = await pool.connect();
  const source = parquetRows([file], { numbersRows: true });
  const [[rows] = []] = await rowsOf(duck, `SELECT count(*)::INTEGER FROM ${source}`);
  return {
    rows: Number(rows),
    read: (from, to) => readFlights(duck, source, from, to),
    close: () => {
      duck.closeSync();
      pool.close();
    },
  };
}

async function* readFlights(duck: Duck, source: string, from: number, to: number): AsyncGenerator<SourceFlight[]> {
  const result = await duck.stream(`
    SELECT file_row_number::INTEGER, epoch_ms(date)::DOUBLE, origin, to_json({
      row: file_row_number, departed_at: epoch_ms(date), delay_minutes: delay, distance_miles: distance,
      origin: origin, destination: destination
    })::VARCHAR
    FROM ${source}
    WHERE file_row_number >= ${from} AND file_row_number < ${to}`);
  let expected = from;
  for await (const rows of result.yieldRows()) {
    yield rows.map(([row, departedAt, origin, json]) => {
      // DuckDB keeps the file's order when it reads. That the replay depends on it is reason enough to look.
      if (row !== expected) throw new Error(`flight ${String(row)} came where ${expected} was expected`);
      expected++;
      return { row, departedAt: Number(departedAt), origin: String(origin), json: String(json) };
    });
  }
  if (expected < to) throw new Error(`flights ended before row ${expected}, although there are ${to}`);
}
