import { createReadStream } from "node:fs";
import { TidelineError } from "../core/errors.ts";
import { bare, type Field, isRequired } from "../core/fields.ts";
import type { Stream } from "../core/stream.ts";
import { parseTime } from "../core/time.ts";
import { openTable } from "../store/table-rows.ts";

/** One event of a source, not validated yet. */
export interface SourceRow {
  /** Line of an NDJSON file, or row of a table, from 1; a CSV's header line does not count. */
  readonly line: number;
  readonly value: Buffer;
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
  return { total: table.total, unit: "rows", pieces: tablePieces(table.pieces, stream), close: () => table.close() };
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

async function* tablePieces(pieces: AsyncIterable<readonly Readonly<Record<string, unknown>>[]>, stream: Stream) {
  const fields = Object.entries(stream.fields);
  let rows: SourceRow[] = [];
  let line = 0;
  for await (const piece of pieces) {
    for (const row of piece) {
      line += 1;
      const event = Object.fromEntries(
        fields.flatMap(([name, field]) => {
          const value = eventValue(field, row[name]);
          return value === undefined ? [] : [[name, value]];
        }),
      );
      rows.push({ line, value: Buffer.from(JSON.stringify(event)) });
    }
    if (rows.length < PIECE_ROWS) continue;
    yield { rows, done: line };
    rows = [];
  }
  yield { rows, done: line };
}

/**
 * A table's value as its field wants it. What does not look like one stays as it is, for the contract to refuse in its own words. A
 * missing text is an empty one where a text is required, every other missing value is left out.
 */
export function eventValue(field: Field, value: unknown): unknown {
  const { type } = bare(field.spec);
  const isText = type === "text" || type === "oneOf";
  if (value === null || value === undefined) return isText && isRequired(field) ? "" : undefined;
  if (typeof value !== "string") return isText ? String(value) : value;
  if (isText) return value;
  const text = value.trim();
  switch (type) {
    case "flag":
      return { true: true, false: false }[text.toLowerCase()] ?? value;
    case "integer":
      return /^-?\d+$/.test(text) ? Number(text) : value;
    case "instant":
      return parseTime(text) ?? value;
    case "decimal":
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : value;
    default:
      return parsed(text) ?? value;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
