import { createReadStream } from "node:fs";
import { TidelineError } from "../core/errors.ts";
import type { Field } from "../core/field.ts";
import { isRequired } from "../core/fields.ts";
import type { Stream } from "../core/stream.ts";
import { openTable, type TableRows, type TableValue } from "../store/table-rows.ts";
import { eventValue } from "./table-values.ts";

/** One event of a source, not validated yet. */
export interface SourceRow {
  /** Line of an NDJSON file, or row of a table, from 1; a CSV's header line does not count. */
  readonly line: number;
  readonly value: Buffer;
  /** Why there is no event of it; absent: there is, for the contract to judge. */
  readonly refused?: string;
}

export interface Source {
  /** How many units `done` goes to; null when nobody knows. */
  readonly total: number | null;
  /** What is counted: "rows" or "bytes". */
  readonly unit: string;
  readonly pieces: AsyncIterable<{ readonly rows: readonly SourceRow[]; readonly done: number }>;
  close(): void;
}

const NEWLINE = 0x0a;
/** Rows that are handed on together. */
const PIECE_ROWS = 5_000;

/** NDJSON: a JSON event a line, sent byte for byte. `totalBytes` null: it comes from a pipe. */
export function ndjsonSource(input: NodeJS.ReadableStream, totalBytes: number | null): Source {
  return { total: totalBytes, unit: "bytes", pieces: linePieces(input), close: () => {} };
}

export function openNdjson(path: string, totalBytes: number): Source {
  return ndjsonSource(createReadStream(path, { highWaterMark: 1024 * 1024 }), totalBytes);
}

/** A CSV or Parquet file: columns become the fields of the same names, and values what the contract says they are. Throws INPUT_MISSING. */
export async function tableSource(path: string, format: "csv" | "parquet", stream: Stream): Promise<Source> {
  const table = await openTable(path, format);
  const missing = Object.entries(stream.fields).flatMap(([name, field]) =>
    isRequired(field) && !table.columns.includes(name) ? [name] : [],
  );
  if (missing.length > 0) {
    table.close();
    throw new TidelineError(
      "INPUT_MISSING",
      `${path} has no column ${missing.join(", ")}, which the contract of ${stream.name} requires`,
      `It has: ${table.columns.join(", ")}. Columns are fields by name.`,
    );
  }
  return { total: table.total, unit: "rows", pieces: tablePieces(table, stream), close: () => table.close() };
}

/** Lines as bytes: a line that is no UTF-8 must be refused, not repaired. */
async function* linePieces(input: NodeJS.ReadableStream) {
  let held: Buffer[] = [];
  let rows: SourceRow[] = [];
  let line = 0;
  let done = 0;
  const finish = (end: Buffer) => {
    line += 1;
    const value = Buffer.concat([...held, end]);
    held = [];
    if (value.toString().trim() !== "") rows.push({ line, value });
  };
  for await (const chunk of input as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      finish(chunk.subarray(from, end));
      from = end + 1;
    }
    held.push(chunk.subarray(from));
    done += chunk.length;
    yield { rows: take(), done };
  }
  finish(Buffer.alloc(0));
  yield { rows: take(), done };

  function take(): SourceRow[] {
    const taken = rows;
    rows = [];
    return taken;
  }
}

/** Columns that the file and the contract have in common: others are not even read. */
async function* tablePieces(table: TableRows, stream: Stream) {
  const fields = Object.entries(stream.fields).filter(([name]) => table.columns.includes(name));
  const names = fields.map(([name]) => name);
  let rows: SourceRow[] = [];
  let line = 0;
  for await (const piece of table.read(names)) {
    for (const values of piece) {
      line += 1;
      rows.push({ line, ...eventOf(fields, values) });
    }
    if (rows.length < PIECE_ROWS) continue;
    yield { rows, done: line };
    rows = [];
  }
  yield { rows, done: line };
}

/** A row as a JSON event. */
function eventOf(
  fields: readonly (readonly [name: string, field: Field])[],
  values: readonly TableValue[],
): Pick<SourceRow, "value" | "refused"> {
  const event: Record<string, unknown> = {};
  for (const [index, [name, field]] of fields.entries()) {
    const read = eventValue(field, values[index] ?? null);
    if (!read.ok) return { value: Buffer.alloc(0), refused: `${name}: ${read.reason}` };
    if (read.value !== undefined) event[name] = read.value;
  }
  return { value: Buffer.from(JSON.stringify(event)) };
}
