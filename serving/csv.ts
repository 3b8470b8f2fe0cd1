import { Readable } from "node:stream";
import { type Stringifier, stringify } from "csv-stringify";
import type { PresentedField } from "../core/measures/measure.ts";
import type { Row } from "../core/present.ts";
import type { Query } from "../core/query.ts";
import { SESSION_COLUMNS, type View } from "../core/view.ts";
import { turn } from "./turns.ts";

interface Column {
  readonly header: string;
  readonly of: (row: Row) => string | number | bigint | boolean | null;
}

/** The columns of a table of rows: a measure with several values has one for each, as `delay.p50`. */
function columnsOf(view: View, { by, measures }: Pick<Query, "by" | "measures">): Column[] {
  const ofSessions = view.sessions === null ? [] : SESSION_COLUMNS;
  const plain = ["bucket", ...ofSessions, ...by].map((name) => ({ header: name, of: (row: Row) => cell(row[name]) }));
  const measured = measures.flatMap((name): Column[] => {
    const parts = view.measures[name]?.parts;
    if (parts === undefined || parts === "list") return [{ header: name, of: (row) => number(cell(row[name])) }];
    return parts.map((part) => ({
      header: `${name}.${part}`,
      of: (row) => number(cell((row[name] as Record<string, PresentedField> | null)?.[part])),
    }));
  });
  return [...plain, ...measured];
}

/** A list becomes its JSON; null an empty field, while empty text is quoted. */
function cell(value: PresentedField | undefined): string | number | boolean | null {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : (value ?? null);
}

/** Integers beyond 2^53-1 come as text, and are numbers all the same. Text such as 007 stays as it is. */
function number(value: ReturnType<Column["of"]>): ReturnType<Column["of"]> {
  return typeof value === "string" && /^(0|-?[1-9]\d*)$/.test(value) ? BigInt(value) : value;
}

/**
 * Rows as CSV (RFC 4180, UTF-8, CRLF), the header first. Text that a spreadsheet would run as a formula (it begins with = + - @, tab or return)
 * gets an apostrophe in front: dimensions are what producers sent, and a table is opened by people. Numbers stay as they are.
 */
export function csvOf(view: View, query: Pick<Query, "by" | "measures">, rows: readonly Row[]): Stringifier {
  const columns = columnsOf(view, query);
  const table = stringify({
    header: true,
    columns: columns.map(({ header }) => header),
    record_delimiter: "windows",
    // By itself it quotes only the delimiter of records, which is CRLF.
    quoted_match: /[\r\n]/,
    escape_formulas: true,
    cast: { boolean: String, string: (text) => (text === "" ? { value: "", quoted_empty: true } : text) },
  });
  return Readable.from(recordsOf(rows, columns)).pipe(table);
}

/** The records of a table, in turns with other requests. */
async function* recordsOf(rows: readonly Row[], columns: readonly Column[]) {
  for (const [index, row] of rows.entries()) {
    if (index % TURN_ROWS === TURN_ROWS - 1) await turn();
    yield columns.map(({ of }) => of(row));
  }
}

/** So many rows are written in some milliseconds. */
const TURN_ROWS = 200;
