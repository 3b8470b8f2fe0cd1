import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type DuckDBConnection, type DuckDBDataChunk, DuckDBInstance } from "@duckdb/node-api";
import { TidelineError } from "../core/errors.ts";

/** Some hundred to some thousand flights that follow each other in the source. */
export interface FlightsChunk {
  /** How many flights. */
  readonly size: number;
  /** The first one's row number, 0-based; the others' follow without a gap. */
  readonly firstRow: number;
  /** When flight `i` of the chunk left, epoch ms; never earlier than the one before. */
  departedAt(i: number): number;
  /** The index of flight `i`'s origin in `airports`. */
  origin(i: number): number;
  /** Flight `i` as a record's value: a JSON object with the contract's fields in the contract's order. */
  json(i: number): string;
}

export interface FlightsSource {
  readonly rows: number;
  readonly airports: readonly string[];
  /** The flights with row numbers `from` up to but not including `to`, in row order. */
  read(from: number, to: number): AsyncGenerator<FlightsChunk>;
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
  const database = await DuckDBInstance.create(":memory:", { threads: "2" });
  const connection = await database.connect();
  const source = `read_parquet('${file.replaceAll("'", "''")}', file_row_number = true)`;
  const rows = await scalar(connection, `SELECT count(*)::INTEGER FROM ${source}`);
  // As an enum, an airport is a small number: its text is made once, not once a row.
  await connection.run(
    `CREATE TYPE airport AS ENUM (SELECT DISTINCT unnest([origin, destination]) AS code FROM ${source} ORDER BY code)`,
  );
  const codes = await connection.runAndReadAll("SELECT unnest(enum_range(NULL::airport))::VARCHAR");
  const airports = codes.getRows().map(([code]) => String(code));
  return {
    rows: Number(rows),
    airports,
    read: (from, to) => readChunks(connection, source, airports, from, to),
    close: () => {
      connection.closeSync();
      database.closeSync();
    },
  };
}

async function scalar(connection: DuckDBConnection, query: string): Promise<unknown> {
  return (await connection.runAndReadAll(query)).getRows()[0]?.[0];
}

async function* readChunks(
  connection: DuckDBConnection,
  source: string,
  airports: readonly string[],
  from: number,
  to: number,
): AsyncGenerator<FlightsChunk> {
  const result = await connection.stream(`
    SELECT file_row_number::INTEGER, epoch_ms(date)::DOUBLE, delay::INTEGER, distance::INTEGER,
           enum_code(origin::airport)::INTEGER, enum_code(destination::airport)::INTEGER
    FROM ${source}
    WHERE file_row_number >= ${from} AND file_row_number < ${to}`);
  const quoted = airports.map((airport) => JSON.stringify(airport));
  let expected = from;
  for (;;) {
    const chunk = await result.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) break;
    yield toFlights(chunk, quoted, expected);
    expected += chunk.rowCount;
  }
  if (expected < to) throw new Error(`flights ended before row ${expected}, although there are ${to}`);
}

function toFlights(chunk: DuckDBDataChunk, quoted: readonly string[], firstRow: number): FlightsChunk {
  const column = (index: number) => {
    const vector = chunk.getColumnVector(index);
    return (i: number): number => {
      const value = vector.getItem(i);
      if (typeof value === "number") return value;
      throw new Error(`column ${index} of flight ${firstRow + i} holds ${String(value)}, not a number`);
    };
  };
  const [row, departedAt, delay, distance, origin, destination] = [0, 1, 2, 3, 4, 5].map(column);
  if (!row || !departedAt || !delay || !distance || !origin || !destination) throw new Error("a column is missing");
  // DuckDB keeps the file's order when it reads. That the replay depends on it is reason enough to look.
  for (let i = 0; i < chunk.rowCount; i++) {
    if (row(i) !== firstRow + i) throw new Error(`flight ${row(i)} came where ${firstRow + i} was expected`);
  }
  return {
    size: chunk.rowCount,
    firstRow,
    departedAt,
    origin,
    json: (i) =>
      `{"row":${firstRow + i},"departed_at":${departedAt(i)},"delay_minutes":${delay(i)},"distance_miles":${distance(i)},` +
      `"origin":${quoted[origin(i)]},"destination":${quoted[destination(i)]}}`,
  };
}
