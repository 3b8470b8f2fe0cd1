import { extname } from "node:path";
import { bare } from "../../core/contract/fields.ts";
import { idFields, type Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { openParquet, type ParquetRows } from "../../store/duckdb/parquet-rows.ts";
import { type Bytes, openBytes } from "../read/bytes.ts";
import { decoded, type Encoding, encodingOf } from "../read/encoding.ts";
import { findColumns, otherWidth, rowIdOf } from "./columns.ts";
import { csvSource } from "./csv-source.ts";
import { jsonSource } from "./json-source.ts";
import { FILE_DEFAULTS, type FileKind, type FileOptions, PIECE_ROWS, type Source, type SourceRow } from "./source.ts";

/** How much of a text is examined before it is read. */
const HEAD_BYTES = 64 * 1024;

const EXTENSIONS: Readonly<Record<string, FileKind>> = {
  ...{ csv: "csv", tsv: "tsv", tab: "tsv", json: "json", ndjson: "ndjson", jsonl: "ndjson" },
  ...{ parquet: "parquet", pq: "parquet" },
};

/** The first characters of other kinds of files, and advice for each. */
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

/** If a pipe is silent for this long, the text that it has sent is taken for its beginning. */
const PIPE_PATIENCE_MS = 200;

/**
 * Opens a file, or standard input for "-". A table's columns become the contract's fields of the same names. Throws
 * INPUT_MISSING for a file that cannot be read, and BAD_REQUEST for options that do not apply.
 */
export async function openSource(file: string, stream: Stream, options: FileOptions = FILE_DEFAULTS): Promise<Source> {
  requireFields(stream, options);
  const named = options.kind ?? EXTENSIONS[extname(file.toLowerCase().replace(/\.(gz|zst)$/, "")).slice(1)] ?? null;
  if (named === "parquet" && file !== "-") return parquetSource(file, stream, options);
  const bytes = await openBytes(file);
  try {
    return await textSource(file, stream, bytes, { ...options, kind: named });
  } catch (error) {
    bytes.close();
    throw error;
  }
}

/** Opens a file that is not named as Parquet. Its first bytes decide the kind. */
async function textSource(file: string, stream: Stream, bytes: Bytes, options: FileOptions): Promise<Source> {
  const head = await bytes.peek(HEAD_BYTES, PIPE_PATIENCE_MS);
  const start = head.toString("latin1", 0, 16);
  if (start.startsWith("PAR1")) {
    if (file === "-")
      throw new TidelineError("INPUT_MISSING", "Parquet cannot be read from a pipe", "Write it to a file first.");
    bytes.close();
    return parquetSource(file, stream, options);
  }
  for (const [begin, what, advice] of OTHERS)
    if (start.startsWith(begin)) throw new TidelineError("INPUT_MISSING", `${file} is ${what}`, advice);
  const encoding = options.encoding ?? encodingOf(head);
  const kind = options.kind ?? ((await isJson(head, encoding)) ? "json" : "csv");
  if (kind === "json" || kind === "ndjson") return jsonSource(bytes, { ...options, encoding, kind }, stream);
  requireNoRows(options);
  const delimiter = options.delimiter ?? (kind === "tsv" ? "\t" : null);
  return withRowIds(await csvSource(file, bytes, { ...options, encoding, delimiter }, stream), options);
}

/** Throws BAD_REQUEST for options that name fields that the contract does not have. */
function requireFields(stream: Stream, { renamed, rowId }: FileOptions): void {
  const unknown = [...renamed.keys()].find((name) => !Object.hasOwn(stream.fields, name));
  const fields = Object.keys(stream.fields).join(", ");
  if (unknown !== undefined)
    throw new TidelineError(
      "BAD_REQUEST",
      `--columns names a field ${unknown}, which ${stream.name} does not have`,
      `It has: ${fields}. Write the field first: field=column.`,
    );
  if (rowId === null) return;
  const field = Object.hasOwn(stream.fields, rowId.field) ? stream.fields[rowId.field] : undefined;
  if (field === undefined || bare(field.spec).type !== "text")
    throw new TidelineError(
      "BAD_REQUEST",
      `--row-id names ${rowId.field}, which is not a text field of ${stream.name}`,
      `Name a text field, such as ${stream.name}'s eventId: --row-id ${idFields(stream)[0]}=${rowId.name}`,
    );
  if (renamed.has(rowId.field))
    throw new TidelineError(
      "BAD_REQUEST",
      `--columns and --row-id both say what ${rowId.field} is`,
      "Leave one of them out.",
    );
}

function requireNoRows({ rows }: FileOptions): void {
  if (rows === null) return;
  throw new TidelineError(
    "BAD_REQUEST",
    "--rows says where a JSON document has its rows, and this is a table",
    "Leave it out, or say --input json.",
  );
}

/** Returns a table with the values that are made from its rows' numbers. */
function withRowIds(source: Source, { rowId }: FileOptions): Source {
  if (rowId === null) return source;
  const numbered = async function* () {
    for await (const { rows, done } of source.pieces)
      yield {
        rows: rows.map((one) => ("cells" in one ? { ...one, cells: [...one.cells, rowIdOf(rowId, one.row)] } : one)),
        done,
      };
  };
  return { ...source, columns: [...source.columns, rowId.field], pieces: numbered() };
}

async function isJson(head: Buffer, encoding: Encoding): Promise<boolean> {
  for await (const text of decoded(once(head), encoding)) return /^\s*[[{]/.test(text);
  return false;
}

async function* once(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes;
}

/** Opens a Parquet file. */
async function parquetSource(file: string, stream: Stream, options: FileOptions): Promise<Source> {
  requireNoRows(options);
  const table = await openParquet(file);
  try {
    const columns = options.names ?? table.columns;
    if (columns.length !== table.columns.length) throw otherWidth(file, columns, table.columns);
    const { fields, places } = findColumns({ file, columns, advice: "" }, stream, options);
    const pieces = parquetPieces(
      table,
      places.map((place) => table.columns[place] ?? ""),
    );
    const source = { total: table.total, unit: "rows", isLive: false, columns: fields, pieces };
    return withRowIds({ ...source, close: () => table.close() }, options);
  } catch (error) {
    table.close();
    throw error;
  }
}

async function* parquetPieces(table: ParquetRows, columns: readonly string[]) {
  let rows: SourceRow[] = [];
  let row = 0;
  for await (const piece of table.read(columns)) {
    for (const cells of piece) {
      rows.push({ row: ++row, cells });
      if (rows.length < PIECE_ROWS) continue;
      yield { rows, done: row };
      rows = [];
    }
  }
  yield { rows, done: row };
}
