import { Readable } from "node:stream";
import { type Stringifier, stringify } from "csv-stringify";
import { SESSION_COLUMNS, type View } from "../../core/definition/view.ts";
import { dimensionScales } from "../../core/measures/decimals.ts";
import type { PresentedField } from "../../core/measures/measure.ts";
import { canBeCut, partialColumn } from "../../core/query/partial.ts";
import type { Row } from "../../core/query/present.ts";
import { fieldJson, numberText } from "../common/numbers.ts";
import { turn } from "../common/turns.ts";
import type { AnswerColumns } from "./answer-fields.ts";

interface Column {
  readonly header: string;
  readonly of: (row: Row) => PresentedField | undefined;
  /** The decimal places of a decimal column; 0 for all others. */
  readonly scale: number;
}

/** Returns the columns of the CSV. A measure with several values has a column for each, such as `delay.p50`. */
function columnsOf(view: View, query: AnswerColumns): Column[] {
  const { by, measures } = query;
  const ofSessions = view.sessions === null ? [] : SESSION_COLUMNS;
  const plain = ["bucket", ...ofSessions, ...by].map((name): Column => {
    return { header: name, of: (row) => row[name], scale: dimensionScales(view).get(name) ?? 0 };
  });
  const measured = measures.flatMap((name): Column[] => {
    const { parts, scale = 0 } = view.measures[name] ?? {};
    if (parts === undefined || parts === "list") return [{ header: name, of: (row) => row[name], scale }];
    return parts.map((part) => ({
      header: `${name}.${part}`,
      of: (row) => (row[name] as Record<string, PresentedField> | null)?.[part],
      scale,
    }));
  });
  const partial = partialColumn(view);
  const cut = canBeCut(view, query) ? [{ header: partial, of: (row: Row) => row[partial] === true, scale: 0 }] : [];
  return [...plain, ...measured, ...cut];
}

/**
 * Returns a value as text. A list becomes its JSON, and null an empty field; empty text is quoted. A decimal has all of
 * its places.
 */
function cell(value: PresentedField | undefined, scale: number): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "object") return fieldJson(value, scale, "number");
  return typeof value === "number" && scale > 0 ? numberText(value, scale) : String(value);
}

/**
 * Text that a spreadsheet runs as a formula begins like this, also in full-width characters. A number is not a formula.
 */
const FORMULA = /^(?!-?\d+(\.\d+)?(e[+-]?\d+)?$)[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/;

function harmless(text: string | null): string | null {
  return text !== null && FORMULA.test(text) ? `'${text}` : text;
}

/**
 * Returns rows as CSV (RFC 4180, UTF-8, CRLF), the header first. Text is written as it is. For a spreadsheet, text that
 * would run as a formula gets an apostrophe in front: producers can send any text, and people open the table.
 */
export function csvOf(view: View, query: AnswerColumns, rows: readonly Row[], isForSpreadsheet = false): Stringifier {
  const columns = columnsOf(view, query);
  const table = stringify({
    header: true,
    columns: columns.map(({ header }) => header),
    record_delimiter: "windows",
    // By default the library quotes only the record delimiter, CRLF.
    quoted_match: /[\r\n]/,
    cast: { string: (text) => (text === "" ? { value: "", quoted_empty: true } : text) },
  });
  const write = isForSpreadsheet ? harmless : (text: string | null) => text;
  return Readable.from(recordsOf(rows, columns, write)).pipe(table);
}

/** Yields the records of the table, taking turns with other requests. */
async function* recordsOf(
  rows: readonly Row[],
  columns: readonly Column[],
  write: (text: string | null) => string | null,
) {
  for (const [index, row] of rows.entries()) {
    if (index % TURN_ROWS === TURN_ROWS - 1) await turn();
    yield columns.map(({ of, scale }) => write(cell(of(row), scale)));
  }
}

/** Writing this many rows takes some milliseconds. */
const TURN_ROWS = 200;
