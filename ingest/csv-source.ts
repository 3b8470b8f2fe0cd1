import { TidelineError } from "../core/errors.ts";
import type { Stream } from "../core/stream.ts";
import type { Bytes } from "./read/bytes.ts";
import { delimiterName, delimiterOf, type FoundColumns, findColumns } from "./read/columns.ts";
import { type CsvRow, CsvSplitter, type Delimiter } from "./read/csv.ts";
import { decoded, type Encoding } from "./read/encoding.ts";
import type { Refusal } from "./refusal.ts";
import { type FileOptions, inPieces, next, type Source, type SourceRow } from "./source.ts";

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
export async function csvSource(
  file: string,
  bytes: Bytes,
  options: FileOptions & { readonly encoding: Encoding },
  stream: Stream,
): Promise<Source> {
  const texts = decoded(bytes.chunks(), options.encoding)[Symbol.asyncIterator]();
  let [head, isWhole] = ["", false];
  while (!isWhole && head.length < MAX_HEADER_UNITS && !hasRow(head)) {
    const { value, done } = await texts.next();
    if (done === true) isWhole = true;
    else head += value;
  }
  const table = openTable(file, { head, isWhole }, options, stream);
  const pieces = csvPieces(table, { [Symbol.asyncIterator]: () => texts }, bytes);
  return { total: bytes.total, unit: "bytes", columns: table.found.fields, pieces, close: () => {} };
}

/** A header that is longer has no end. */
const MAX_HEADER_UNITS = 8 * 1024 * 1024;

/** Whether a text holds a row with its end: a line break outside of quotes. A CR at the end may be half of one. */
function hasRow(text: string): boolean {
  let isQuoted = false;
  for (let at = text.length - text.trimStart().length; at < text.length; at++) {
    const unit = text[at];
    if (unit === '"') isQuoted = !isQuoted;
    else if (!isQuoted && (unit === "\n" || (unit === "\r" && at + 1 < text.length))) return true;
  }
  return false;
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
  if (header && first === null && !isWhole)
    throw new TidelineError("INPUT_MISSING", `${file} has no line break in its first 8 MB`, "Is it a table?");
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
