import { extname } from "node:path";
import { TidelineError } from "../core/errors.ts";
import type { Stream } from "../core/stream.ts";
import { openParquet, type ParquetRows, type TableValue } from "../store/parquet-rows.ts";
import { type Bytes, openBytes } from "./read/bytes.ts";
import { type ColumnNames, delimiterName, delimiterOf, type FoundColumns, findColumns } from "./read/columns.ts";
import { type CsvRow, CsvSplitter, type Delimiter } from "./read/csv.ts";
import { decoded, type Encoding, encodingOf } from "./read/encoding.ts";
import { jsonSplitter } from "./read/json.ts";
import type { Refusal } from "./refusal.ts";

/** One row of a source, not looked at yet: a table's values, a JSON text, or why it is neither. */
export type SourceRow = {
  /** Row of the data, from 1; a header is none. */
  readonly row: number;
  /** Line of a text file, from 1. */
  readonly line?: number;
} & ({ readonly cells: readonly TableValue[] } | { readonly json: Buffer } | { readonly refused: Refusal });

export interface Source {
  /** How many units `done` goes to; null when nobody knows. */
  readonly total: number | null;
  /** What is counted: "rows" or "bytes". */
  readonly unit: string;
  /** The fields that a table's values are of, in their order; none for JSON. */
  readonly columns: readonly string[];
  readonly pieces: AsyncIterable<{ readonly rows: readonly SourceRow[]; readonly done: number }>;
  close(): void;
}

/** What a file can be. */
export const FILE_KINDS = ["csv", "tsv", "json", "ndjson", "parquet"] as const;
type FileKind = (typeof FILE_KINDS)[number];

/** What is said about a file; the rest its name and its first bytes show. */
export interface FileOptions extends ColumnNames {
  readonly kind: FileKind | null;
  readonly delimiter: Delimiter | null;
  readonly encoding: Encoding | null;
}

export const FILE_DEFAULTS: FileOptions = { kind: null, delimiter: null, encoding: null, header: true, names: null };

/** Rows that are handed on together: few, so that what they are made of is gone before the garbage collector looks at it. */
const PIECE_ROWS = 64;

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
  const head = await bytes.peek(HEAD_BYTES);
  const start = head.toString("latin1", 0, 16);
  if (start.startsWith("PAR1")) {
    if (file !== "-" && bytes.done > 0) return parquetSource(file, stream);
    throw new TidelineError("INPUT_MISSING", "Parquet cannot be read from a pipe", "Write it to a file first.");
  }
  for (const [begin, what, advice] of OTHERS)
    if (start.startsWith(begin)) throw new TidelineError("INPUT_MISSING", `${file} is ${what}`, advice);
  const encoding = options.encoding ?? encodingOf(head);
  const kind = named ?? ((await isJson(head, encoding)) ? "json" : "csv");
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
  const { total } = bytes;
  return { total, unit: "bytes", columns: [], pieces: jsonPieces(bytes, encoding, linesOnly), close: () => {} };
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
        rows.push(
          "json" in piece ? { row, line, json: piece.json } : { row, line, refused: { reason: piece.problem } },
        );
      }
      return rows;
    };
  };
  for await (const chunk of chunks) yield* inPieces(push(chunk, false), bytes);
  yield* inPieces(push(Buffer.alloc(0), true), bytes);
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

interface Table {
  readonly splitter: CsvSplitter;
  readonly delimiter: Delimiter;
  /** How many columns the file has. */
  readonly width: number;
  readonly found: FoundColumns;
  /** The wanted names as the header has them; null when there is none. */
  readonly header: readonly (string | null)[] | null;
}

/** Delimited text. */
async function csvSource(
  file: string,
  bytes: Bytes,
  options: FileOptions & { readonly encoding: Encoding },
  stream: Stream,
): Promise<Source> {
  const texts = decoded(bytes.chunks(), options.encoding)[Symbol.asyncIterator]();
  let [head, isWhole] = ["", false];
  while (!isWhole && !/[\r\n]/.test(head.trimStart())) {
    const { value, done } = await texts.next();
    if (done === true) isWhole = true;
    else head += value;
  }
  const table = openTable(file, { head, isWhole }, options, stream);
  const pieces = csvPieces(table, { [Symbol.asyncIterator]: () => texts }, bytes);
  return { total: bytes.total, unit: "bytes", columns: table.found.fields, pieces, close: () => {} };
}

/** Reads the header. Throws INPUT_MISSING and BAD_REQUEST. */
function openTable(
  file: string,
  { head, isWhole }: { head: string; isWhole: boolean },
  options: FileOptions,
  stream: Stream,
): Table {
  const { header, names } = options;
  if (!header && names === null)
    throw new TidelineError("BAD_REQUEST", "--no-header names no columns", "Name them, in order: --columns a,b,c");
  const delimiter = options.delimiter ?? delimiterOf(head, isWhole, stream.fields, options);
  const splitter = new CsvSplitter(delimiter);
  splitter.push(head, isWhole);
  const first = header ? splitter.next() : null;
  if (header && first === null)
    throw new TidelineError("INPUT_MISSING", `${file} is empty`, "A table begins with a header.");
  if (first?.problem !== undefined)
    throw new TidelineError("INPUT_MISSING", `the header of ${file}: ${first.problem.reason}`, "Correct it.");
  const given = (first?.cells ?? []).map((name) => (name ?? "").trim());
  const columns = names ?? given;
  if (header && names !== null && names.length !== first?.width)
    throw new TidelineError(
      "BAD_REQUEST",
      `--columns has ${names.length} names, and the header of ${file} ${first?.width ?? 0}: ${given.join(", ")}`,
      "Name all columns in order; an empty name leaves one out: a,,c",
    );
  const separated =
    options.delimiter === null
      ? `The delimiter was taken to be ${delimiterName(delimiter)}; --delimiter names another.`
      : "";
  const found = findColumns(file, columns, stream, separated);
  splitter.want(found.places);
  return {
    ...{ splitter, delimiter, found, width: columns.length },
    header: header ? found.places.map((place) => given[place] ?? null) : null,
  };
}

async function* csvPieces(table: Table, texts: AsyncIterable<string>, bytes: Bytes) {
  const { splitter } = table;
  let row = 0;
  const take = (): SourceRow[] => {
    const rows: SourceRow[] = [];
    for (let read = next(splitter, rows); read !== null; read = next(splitter, rows)) {
      row += 1;
      const refused = tableProblem(read, table);
      rows.push(refused === null ? { row, line: read.line, cells: read.cells } : { row, line: read.line, refused });
    }
    return rows;
  };
  yield* inPieces(take, bytes);
  for await (const text of texts) {
    splitter.push(text, false);
    yield* inPieces(take, bytes);
  }
  splitter.push("", true);
  yield* inPieces(take, bytes);
}

/** The next of a splitter, unless a piece has enough. */
function next<T>(splitter: { next(): T | null }, piece: readonly unknown[]): T | null {
  return piece.length < PIECE_ROWS ? splitter.next() : null;
}

/** What `take` gives until it has nothing more; at least one piece, which says how far reading is. */
function* inPieces(take: () => SourceRow[], bytes: Bytes) {
  for (let rows = take(); ; rows = take()) {
    yield { rows, done: bytes.done };
    if (rows.length < PIECE_ROWS) return;
  }
}

/** What is wrong with a row as such; null for nothing. */
function tableProblem({ width, cells, problem }: CsvRow, table: Table): Refusal | null {
  const { splitter, delimiter, header } = table;
  if (problem !== undefined) {
    const column = table.found.fields[table.found.places.indexOf(problem.column)] ?? `column ${problem.column + 1}`;
    return {
      ...{ column, value: splitter.rowText(), reason: `cannot be read: ${problem.reason}` },
      advice: 'A value that begins with a quote ends with one, and has its quotes doubled: "5"" pipe".',
    };
  }
  if (width !== table.width)
    return {
      ...{ value: splitter.rowText(), reason: `has ${width} values, and there are ${table.width} columns` },
      advice: `Put values that contain a ${delimiterName(delimiter)} in quotes; rows that are no data, such as a footer, are left out with --skip-invalid.`,
    };
  if (header !== null && cells[0] === header[0] && cells.every((cell, index) => cell?.trim() === header[index]))
    return { reason: "repeats the header: these are two files, one behind the other", advice: "Take the line out." };
  return null;
}
