import type { View } from "../definition/view.ts";
import { dimensionScales } from "../measures/decimals.ts";
import type { Presented, PresentedField } from "../measures/measure.ts";
import { plainDecimalText, plainTermsOf, plainUnits } from "../measures/plain-values.ts";
import { partialColumn } from "../query/partial.ts";
import type { Row } from "../query/present.ts";
import type { Query } from "../query/query.ts";
import { plainMayCut } from "./plain-cut.ts";

/**
 * Checks the parts of an answer other than its values: it has the rows that its limit allows, in its order, and its CSV
 * has the same content. The code that sorts, cuts and writes answers is not used here.
 */

/** An answer as a client gets it. */
export interface GivenAnswer {
  readonly order: Query["order"];
  readonly limit: number;
  readonly rows: readonly Row[];
  readonly truncated: boolean;
  /** Its rows as CSV. Null if they were not requested. */
  readonly csv: string | null;
}

/** A field of a row, or a whole row: the served value and the one computed from the log. */
export interface ComparedValue {
  readonly row: Row;
  readonly field: string;
  readonly served: PresentedField | Row;
  readonly log: PresentedField | Row;
}

/** An error in an answer, with the right value. */
export interface AnswerFault extends ComparedValue {
  readonly problem: "out of order" | "not its limit" | "other CSV";
}

/**
 * Returns the faults of an answer, the first of each kind. `all` are the rows that were compared with the log, in any
 * order.
 */
export function answerFaults(view: View, query: Query, all: readonly Row[], given: GivenAnswer): AnswerFault[] {
  const faults = [limitFault(all, given), orderFault(view, query, all, given), csvFault(view, query, given)];
  return faults.filter((fault) => fault !== null);
}

function limitFault(all: readonly Row[], { rows, limit, truncated }: GivenAnswer): AnswerFault | null {
  const wanted = all.length < limit ? all.length : limit;
  const row = rows.at(-1) ?? {};
  if (rows.length !== wanted) return { problem: "not its limit", row, field: "rows", served: rows.length, log: wanted };
  if (truncated !== all.length > wanted)
    return { problem: "not its limit", row, field: "truncated", served: truncated, log: !truncated };
  return null;
}

/**
 * Checks that each given row is one of all rows, that none is given twice, that each comes before the next, and that
 * the last comes before all that are left out.
 */
function orderFault(view: View, query: Query, all: readonly Row[], { rows, order }: GivenAnswer): AnswerFault | null {
  const field = order[0]?.field ?? "bucket";
  const left = new Map(all.map((row) => [JSON.stringify(row), row]));
  for (const row of rows)
    if (!left.delete(JSON.stringify(row))) return { problem: "out of order", row, field, served: row, log: null };
  const fields = [...order, ...["bucket", ...query.by].map((name) => ({ field: name, descending: false }))];
  const misplaced = (before: Row | undefined, after: Row): AnswerFault | null =>
    before === undefined || stands(view, before, after, fields)
      ? null
      : { problem: "out of order", row: after, field, served: sortedBy(after, field), log: sortedBy(before, field) };
  for (const [index, row] of rows.entries()) {
    const fault = misplaced(rows[index - 1], row);
    if (fault !== null) return fault;
  }
  for (const row of left.values()) {
    const fault = misplaced(rows.at(-1), row);
    if (fault !== null) return fault;
  }
  return null;
}

/** Whether one row comes before another. */
function stands(view: View, before: Row, after: Row, fields: Query["order"]): boolean {
  for (const { field, descending } of fields) {
    const [a, b] = [sortedBy(before, field), sortedBy(after, field)];
    if (JSON.stringify(a) === JSON.stringify(b)) continue;
    if (a === null || b === null) return b === null;
    const decimals = isDecimal(view, field);
    return descending ? isLess(b, a, decimals) : isLess(a, b, decimals);
  }
  return false;
}

/** Returns the value that a row is sorted by. An instant is a number there, not its text. */
function sortedBy(row: Row, field: string): Presented {
  const [name = "", part] = field.split(".");
  const value = (row[name] ?? null) as Presented | Readonly<Record<string, Presented>>;
  if (part !== undefined) return ((value ?? {}) as Readonly<Record<string, Presented>>)[part] ?? null;
  return name === "bucket" || name === "ended" ? Date.parse(String(value)) : (value as Presented);
}

/** Whether a field has decimals. Long decimals are text. */
function isDecimal(view: View, field: string): boolean {
  return (view.measures[field]?.scale ?? 0) > 0 || dimensionScales(view).has(field);
}

/**
 * Whether a value comes before another. Numbers, as text too, come before other text. Two texts of the same number,
 * such as 7 and 007, are compared by code points.
 */
function isLess(a: NonNullable<Presented>, b: NonNullable<Presented>, decimals: boolean): boolean {
  const written = decimals ? /^-?[0-9]{1,40}(\.[0-9]+)?$/ : /^-?[0-9]{1,40}$/;
  const isNumber = (value: Presented) => typeof value === "number" || written.test(String(value));
  if (isNumber(a) !== isNumber(b)) return isNumber(a);
  const [left, right] = isNumber(a) ? [plainTermsOf(a), plainTermsOf(b)] : [null, null];
  if (left !== null && right !== null) {
    const difference = left[0] * right[1] - right[0] * left[1];
    if (difference !== 0n) return difference < 0n;
  }
  const [one, other] = [String(a), String(b)].map((text) => Array.from(text, (point) => point.codePointAt(0) ?? 0));
  for (const [index, point] of (one ?? []).entries()) {
    const against = other?.[index];
    if (against === undefined || point !== against) return against !== undefined && point < against;
  }
  return true;
}

function csvFault(view: View, query: Query, { rows, csv }: GivenAnswer): AnswerFault | null {
  if (csv === null) return null;
  const columns = csvColumns(view, query);
  const lines = [columns.map(({ name }) => written(name)), ...rows.map((row) => cellsOf(view, columns, row))];
  let at = 0;
  for (const [index, cells] of lines.entries()) {
    const line = `${cells.join(",")}\r\n`;
    const served = csv.slice(at, at + line.length);
    if (served !== line) return { problem: "other CSV", row: rows[index - 1] ?? {}, field: "csv", served, log: line };
    at += line.length;
  }
  const more = csv.slice(at);
  return more === "" ? null : { problem: "other CSV", row: {}, field: "csv", served: more, log: "" };
}

/** Stands for a field's name in the column that says whether the range cuts the row's bucket. */
const PARTIAL = "";

interface CsvColumn {
  readonly name: string;
  readonly field: string;
}

function csvColumns(view: View, query: Query): CsvColumn[] {
  const { sessions, measures } = view;
  const places = ["bucket", ...(sessions === null ? [] : ["ended", "duration_ms"]), ...query.by];
  const columns = places.map((name) => ({ name, field: name }));
  for (const measure of query.measures) {
    const parts = measures[measure]?.parts;
    const names = parts === undefined || parts === "list" ? [measure] : parts.map((part) => `${measure}.${part}`);
    columns.push(...names.map((name) => ({ name, field: name })));
  }
  if (plainMayCut(view, query)) columns.push({ name: partialColumn(view), field: PARTIAL });
  return columns;
}

function cellsOf(view: View, columns: readonly CsvColumn[], row: Row): string[] {
  return columns.map(({ name: header, field }) => {
    if (field === PARTIAL) return `${row[header] === true}`;
    const [name = "", part] = field.split(".");
    const whole = row[name] ?? null;
    const value = part === undefined ? whole : ((whole as Readonly<Record<string, Presented>> | null)?.[part] ?? null);
    if (value === null) return "";
    if (typeof value === "object") return written(listText(value));
    const scale = view.measures[field]?.scale ?? dimensionScales(view).get(field) ?? 0;
    return written(typeof value === "number" && scale > 0 ? plainFixed(value, scale) : `${value}`);
  });
}

/** Returns a list as JSON. Numbers that are stored as text are JSON numbers there. */
function listText(list: PresentedField): string {
  return JSON.stringify(list).replace(/"(from|to|count|weight)":"(-?[0-9.]+)"/g, '"$1":$2');
}

/** Returns a decimal of at most fifteen digits, with all of its places. */
function plainFixed(value: number, scale: number): string {
  return plainDecimalText(String(Math.round(value * Number(plainUnits(scale)))), scale);
}

/** Returns a cell of RFC 4180. Empty text is quoted, so that it differs from null. */
function written(text: string): string {
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
