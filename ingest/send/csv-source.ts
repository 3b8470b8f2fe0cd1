import { amount } from "../../core/amount.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { Bytes } from "../read/bytes.ts";
import { type CsvRow, CsvSplitter, type Delimiter, MAX_ROW_UNITS } from "../read/csv.ts";
import { decoded, type Encoding } from "../read/encoding.ts";
import { delimiterName, delimiterOf, type FoundColumns, findColumns, otherWidth } from "./columns.ts";
import type { Refusal } from "./refusal.ts";
import { type FileOptions, inPieces, next, type Source, type SourceRow } from "./source.ts";

interface Table {
  readonly splitter: CsvSplitter;
  readonly delimiter: Delimiter;
  /** The number of columns in the file. */
  readonly width: number;
  readonly found: FoundColumns;
  /** The wanted names as in the header; null if there is no header. */
  readonly header: readonly (string | null)[] | null;
  /** Returns the fields' values from the values that are read. */
  readonly cellsOf: (cells: CsvRow["cells"]) => CsvRow["cells"];
}

/** Opens a delimited text. */
export async function csvSource(
  file: string,
  bytes: Bytes,
  options: FileOptions & { readonly encoding: Encoding },
  stream: Stream,
): Promise<Source> {
  const texts = decoded(bytes.chunks(), options.encoding)[Symbol.asyncIterator]();
  const head = { text: "", isWhole: false };
  const readMore = async () => {
    const { value, done } = await texts.next();
    if (done === true) head.isWhole = true;
    else head.text += value;
  };
  const hasRow = rowSearch();
  while (!head.isWhole && head.text.length <= MAX_ROW_UNITS && !hasRow(head.text)) await readMore();
  let table = openTable(file, head, options, stream);
  for (; table === null; table = openTable(file, head, options, stream)) await readMore();
  const pieces = csvPieces(table, { [Symbol.asyncIterator]: () => texts }, bytes);
  return {
    ...{ total: bytes.total, unit: "bytes", isLive: bytes.total === null },
    ...{ columns: table.found.fields, pieces, close: () => bytes.close() },
  };
}

/**
 * Returns a function that is called with a growing text and returns whether it contains a complete row. A row ends with
 * a line break outside of quotes, whatever the delimiter is. Each call examines only the new text.
 */
function rowSearch(): (text: string) => boolean {
  let [at, hasBegun, isQuoted] = [0, false, false];
  return (text) => {
    for (; at < text.length; at++) {
      const unit = text[at] as string;
      if (!hasBegun && unit.trim() === "") continue;
      hasBegun = true;
      if (unit === '"') isQuoted = !isQuoted;
      else if (!isQuoted && (unit === "\n" || unit === "\r")) return true;
    }
    return false;
  };
}

/** Returns the delimiter in Excel's line before the header, such as `sep=;`; null if there is no such line. */
function delimiterLine(head: string): Delimiter | null {
  return /^"?sep=([^"\r\n])"?[\r\n]/i.exec(head)?.[1] ?? null;
}

/** Reads the header; returns null if it is not complete yet. Throws INPUT_MISSING and BAD_REQUEST. */
function openTable(
  file: string,
  { text: head, isWhole }: { readonly text: string; readonly isWhole: boolean },
  options: FileOptions,
  stream: Stream,
): Table | null {
  const { header, names } = options;
  if (!header && names === null)
    throw new TidelineError("BAD_REQUEST", "--no-header names no columns", "Name them, in order: --columns a,b,c");
  const named = delimiterLine(head);
  const delimiter = options.delimiter ?? named ?? delimiterOf(head, isWhole, stream.fields, options);
  const splitter = new CsvSplitter(delimiter);
  splitter.push(head, isWhole);
  if (named !== null) splitter.next();
  const first = header ? splitter.next() : null;
  if (header && first === null && !isWhole) return null;
  if (header && first === null)
    throw new TidelineError("INPUT_MISSING", `${file} is empty`, "A table begins with a header.");
  if (first?.problem !== undefined) {
    const { column, reason, advice } = first.problem;
    const place = `line ${first.line}${column === undefined ? "" : `, column ${column + 1}`}`;
    throw new TidelineError("INPUT_MISSING", `the header of ${file}, ${place}: ${reason}`, advice);
  }
  const given = (first?.cells ?? []).map((name) => (name ?? "").trim());
  const columns = names ?? given;
  if (header && names !== null && names.length !== first?.width) throw otherWidth(file, names, given);
  const separated =
    options.delimiter === null && named === null
      ? `The delimiter was taken to be ${delimiterName(delimiter)}; --delimiter names another.`
      : "";
  const found = findColumns({ file, columns, advice: separated }, stream, options);
  const read = [...new Set(found.places)];
  splitter.want(read);
  return {
    ...{ splitter, delimiter, found, width: columns.length },
    header: header ? read.map((place) => given[place] ?? null) : null,
    // Several fields may use the values of one column.
    cellsOf:
      read.length === found.places.length
        ? (cells) => cells
        : (cells) => found.places.map((place) => cells[read.indexOf(place)] ?? null),
  };
}

async function* csvPieces(table: Table, texts: AsyncIterable<string>, bytes: Bytes) {
  const { splitter, cellsOf } = table;
  let row = 0;
  const take = (): SourceRow[] => {
    const rows: SourceRow[] = [];
    for (let read = next(splitter, rows); read !== null; read = next(splitter, rows)) {
      row += 1;
      const refused = tableProblem(read, table);
      const { line } = read;
      rows.push(refused === null ? { row, line, cells: cellsOf(read.cells) } : { row, line, refused });
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

function columnName({ found }: Table, index: number): string {
  return found.fields[found.places.indexOf(index)] ?? `column ${index + 1}`;
}

/** Returns what is wrong with a row as a whole; null if nothing. */
function tableProblem({ width, cells, problem }: CsvRow, table: Table): Refusal | null {
  const { splitter, delimiter, header } = table;
  if (problem !== undefined) {
    return {
      ...(problem.column === undefined ? {} : { column: columnName(table, problem.column) }),
      ...{ value: splitter.rowText(), reason: `cannot be read: ${problem.reason}` },
      advice: problem.advice,
    };
  }
  if (width !== table.width)
    return {
      ...{ value: splitter.rowText(), reason: `has ${amount(width, "value")}, and there are ${table.width} columns` },
      advice:
        `Put values that contain a ${delimiterName(delimiter)} in quotes; rows that are not ` +
        "data, such as a footer, are left out with --skip-invalid.",
    };
  if (header !== null && cells[0] === header[0] && cells.every((cell, index) => cell?.trim() === header[index]))
    return { reason: "repeats the header: these are two files, one behind the other", advice: "Take the line out." };
  return null;
}
