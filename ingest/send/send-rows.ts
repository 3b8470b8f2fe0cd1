import { extname } from "node:path";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { openParquet, type ParquetRows } from "../../store/duckdb/parquet-rows.ts";
import { type Bytes, openBytes } from "../read/bytes.ts";
import { decoded, type Encoding, encodingOf } from "../read/encoding.ts";
import { type JsonPiece, jsonSplitter } from "../read/json.ts";
import { findColumns } from "./columns.ts";
import { csvSource } from "./csv-source.ts";
import {
  FILE_DEFAULTS,
  type FileKind,
  type FileOptions,
  inPieces,
  next,
  PIECE_ROWS,
  type Source,
  type SourceRow,
} from "./source.ts";

/** How much of a text is looked at before it is read. */
const HEAD_BYTES = 64 * 1024;

const EXTENSIONS: Readonly<Record<string, FileKind>> = {
  ...{ csv: "csv", tsv: "tsv", tab: "tsv", json: "json", ndjson: "ndjson", jsonl: "ndjson" },
  ...{ parquet: "parquet", pq: "parquet" },
};

/** What other files begin with, and what to do with them. */
const OTHERS: readonly (readonly [start: string, what: string, advice: string])[] = [
  [
    "PK\x03\x04",
    "an Excel workbook or a zip archive",
    "Save the sheet as CSV, or unpack it: unzip -p FILE | tideline send …",
  ],
  ["\xd0\xcf\x11\xe0", "an Excel workbook of the old format", "Save the sheet as CSV."],
  ["BZh", "compressed with bzip2", "Unpack it: bzcat FILE | tideline send …"],
  ["\xfd7zXZ", "compressed with xz", "Unpack it: xzcat FILE | tideline send …"],
  ["Obj\x01", "an Avro container", "Convert it to Parquet or JSON."],
  ["ORC", "an ORC file", "Convert it to Parquet or CSV."],
  ["SQLite format 3", "a SQLite database", "Export a table as CSV."],
  ["%PDF", "a PDF", "Name a table or JSON file."],
];

/**
 * Opens a file, or standard input for "-". A table's columns are the contract's fields by name. Throws INPUT_MISSING for what cannot be read, and
 * BAD_REQUEST for options that do not fit.
 */
export async function openSource(file: string, stream: Stream, options: FileOptions = FILE_DEFAULTS): Promise<Source> {
  const named = options.kind ?? EXTENSIONS[extname(file.toLowerCase().replace(/\.(gz|zst)$/, "")).slice(1)] ?? null;
  if (named === "parquet" && file !== "-") return parquetSource(file, stream);
  const bytes = await openBytes(file);
  try {
    return await textSource(file, stream, bytes, { ...options, kind: named });
  } catch (error) {
    bytes.close();
    throw error;
  }
}

/** A file that is not named as Parquet, by what it begins with. */
async function textSource(file: string, stream: Stream, bytes: Bytes, options: FileOptions): Promise<Source> {
  const head = await bytes.peek(HEAD_BYTES);
  const start = head.toString("latin1", 0, 16);
  if (start.startsWith("PAR1")) {
    if (file === "-")
      throw new TidelineError("INPUT_MISSING", "Parquet cannot be read from a pipe", "Write it to a file first.");
    bytes.close();
    return parquetSource(file, stream);
  }
  for (const [begin, what, advice] of OTHERS)
    if (start.startsWith(begin)) throw new TidelineError("INPUT_MISSING", `${file} is ${what}`, advice);
  const encoding = options.encoding ?? encodingOf(head);
  const kind = options.kind ?? ((await isJson(head, encoding)) ? "json" : "csv");
  if (kind === "json" || kind === "ndjson") return jsonSource(bytes, encoding, kind === "ndjson");
  const delimiter = options.delimiter ?? (kind === "tsv" ? "\t" : null);
  return csvSource(file, bytes, { ...options, encoding, delimiter }, stream);
}

async function isJson(head: Buffer, encoding: Encoding): Promise<boolean> {
  for await (const text of decoded(once(head), encoding)) return /^\s*[[{]/.test(text);
  return false;
}

async function* once(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes;
}

/** A Parquet file's rows. */
async function parquetSource(file: string, stream: Stream): Promise<Source> {
  const table = await openParquet(file);
  try {
    const { fields } = findColumns(file, table.columns, stream, "");
    const pieces = parquetPieces(table, fields);
    return { total: table.total, unit: "rows", columns: fields, pieces, close: () => table.close() };
  } catch (error) {
    table.close();
    throw error;
  }
}

async function* parquetPieces(table: ParquetRows, fields: readonly string[]) {
  let rows: SourceRow[] = [];
  let row = 0;
  for await (const piece of table.read(fields)) {
    for (const cells of piece) {
      rows.push({ row: ++row, cells });
      if (rows.length < PIECE_ROWS) continue;
      yield { rows, done: row };
      rows = [];
    }
  }
  yield { rows, done: row };
}

/** JSON values, whose bytes are kept; text in another encoding becomes UTF-8. */
async function jsonSource(bytes: Bytes, encoding: Encoding, linesOnly: boolean): Promise<Source> {
  const pieces = jsonPieces(bytes, encoding, linesOnly);
  return { total: bytes.total, unit: "bytes", columns: [], pieces, close: () => bytes.close() };
}

async function* jsonPieces(bytes: Bytes, encoding: Encoding, linesOnly: boolean) {
  const chunks = encoding === "utf-8" ? withoutMark(bytes.chunks()) : asUtf8(decoded(bytes.chunks(), encoding));
  let splitter: ReturnType<typeof jsonSplitter> | null = null;
  let row = 0;
  const push = (chunk: Buffer, isLast: boolean) => {
    const current = splitter ?? jsonSplitter(chunk, linesOnly);
    splitter = current;
    current.push(chunk, isLast);
    return (): SourceRow[] => {
      const rows: SourceRow[] = [];
      for (let piece = next(current, rows); piece !== null; piece = next(current, rows)) {
        const { line } = piece;
        row += 1;
        rows.push("json" in piece ? { row, line, json: piece.json } : { row, line, ...refusedPiece(piece) });
      }
      return rows;
    };
  };
  for await (const chunk of chunks) yield* inPieces(push(chunk, false), bytes);
  yield* inPieces(push(Buffer.alloc(0), true), bytes);
}

function refusedPiece({ problem, advice, isEnd }: Extract<JsonPiece, { problem: string }>) {
  return { refused: { reason: problem, ...(advice === undefined ? {} : { advice }) }, isEnd };
}

async function* withoutMark(chunks: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  let isFirst = true;
  for await (const chunk of chunks) {
    const hasMark = isFirst && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf;
    yield hasMark ? chunk.subarray(3) : chunk;
    isFirst = false;
  }
}

async function* asUtf8(texts: AsyncIterable<string>): AsyncIterable<Buffer> {
  for await (const text of texts) yield Buffer.from(text);
}
