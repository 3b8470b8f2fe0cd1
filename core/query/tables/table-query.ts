import { amount } from "../../amount.ts";
import { bare } from "../../contract/fields.ts";
import { LATEST } from "../../definition/table.ts";
import type { Table, View } from "../../definition/view.ts";
import type { WrongParameter } from "../../errors.ts";
import { decimalText, dimensionScales, presentDecimal, unitsOfText } from "../../measures/decimals.ts";
import type { Presented } from "../../measures/measure.ts";
import { comparePresented } from "../../measures/order.ts";
import type { GroupValue } from "../../state/cells.ts";
import { shardOf } from "../../state/shard.ts";
import { filterValue } from "../filter.ts";
import { wholeNumber } from "../parameters.ts";
import type { Row } from "../present.ts";
import { type Query, ROW_LIMIT } from "../query.ts";

/** The values of a key in the form of state, as text: decimals in units of their last place. */
export type TableKey = readonly string[];

/** A client's query of a table. */
export interface TableQuestion {
  readonly query: Query;
  /** Only these rows. Null: all of them. */
  readonly keys: readonly TableKey[] | null;
  /** Only keys whose first part begins with this text. */
  readonly prefix: string;
  /** The allowed values of each column, as text. Null means no value. */
  readonly where: ReadonlyMap<string, readonly (string | null)[]>;
  /** Only keys after this one, in the order of keys. Null: from the first. */
  readonly after: TableKey | null;
  /** The columns of a row, the key first. */
  readonly columns: readonly string[];
}

/** The most keys that one query may name. */
export const MOST_KEYS = 100;

/** Returns the columns of a table's rows: the key, then the record's fields or the measures. */
export function tableColumns(view: View): string[] {
  const key = Object.keys(view.by);
  const others = view.table?.kind === "latest" ? Object.keys(view.stream.fields) : Object.keys(view.measures);
  return [...key, ...others.filter((name) => !key.includes(name))];
}

/** The parameters of a query of a table, already split into their parts. */
export interface TableParameters {
  readonly keys: readonly (readonly string[])[] | null;
  readonly prefix?: string;
  readonly where?: ReadonlyMap<string, readonly string[]>;
  readonly after?: readonly string[] | null;
  readonly columns?: string | undefined;
  readonly order?: string | undefined;
  readonly limit?: string | undefined;
}

/** Reads a query of a table. Any input gives a query or a list of its errors. */
export function planTable(
  view: View,
  parameters: TableParameters,
): { ok: true; question: TableQuestion } | { ok: false; problems: WrongParameter[] } {
  const { table } = view;
  if (table === null) throw new RangeError(`${view.name} is not a table`);
  const problems: WrongParameter[] = [];
  const fail = (parameter: string, problem: string, allowed: string) => problems.push({ parameter, problem, allowed });
  const all = tableColumns(view);
  const named = (parameter: string, names: readonly string[]) => {
    for (const name of names)
      if (!all.includes(name)) fail(parameter, `"${name.slice(0, 60)}" is not a column of this table`, all.join(", "));
  };
  const keys = parameters.keys?.map((key) => keyOf(view, key, "key", fail)) ?? null;
  if ((keys?.length ?? 0) > MOST_KEYS) fail("key", `${keys?.length} keys are asked for`, `at most ${MOST_KEYS}`);
  const after = parameters.after == null ? null : keyOf(view, parameters.after, "after", fail);
  const wanted = parameters.columns?.split(",").filter((name) => name !== "") ?? all;
  named("columns", wanted);
  const order = (parameters.order ?? "")
    .split(",")
    .filter((part) => part !== "")
    .map((part) => ({ field: part.replace(/^-/, ""), descending: part.startsWith("-") }));
  named(
    "order",
    order.map(({ field }) => field),
  );
  if (after !== null && order.length > 0) fail("after", "pages come in the order of the key", "no order");
  named("where", [...(parameters.where ?? new Map()).keys()]);
  const limit = wholeNumber("limit", parameters.limit, ROW_LIMIT, fail);
  if (problems.length > 0) return { ok: false, problems };
  const where = new Map(
    [...(parameters.where ?? [])].map(([name, texts]) => [name, texts.map((text) => shownFilter(view, name, text))]),
  );
  const key = Object.keys(view.by);
  return {
    ok: true,
    question: {
      query: tableQuery(view, table, { keys, order, limit, columns: [...wanted, ...where.keys()] }),
      keys,
      prefix: parameters.prefix ?? "",
      where,
      after,
      columns: [...key, ...wanted.filter((name) => !key.includes(name))],
    },
  };
}

/** Returns the query for all rows of a table, shard by shard, for a proof. No parameters of a view's queries apply. */
export function planWholeTable(
  view: View,
  parameters: Readonly<Record<string, unknown>>,
): { ok: true; query: Query } | { ok: false; problems: WrongParameter[] } {
  const problems = Object.keys(parameters).map((parameter) => ({
    parameter,
    problem: "means nothing for a table",
    allowed: "no parameters: all of its rows are looked at",
  }));
  const plan = planTable(view, { keys: null });
  if (!plan.ok) return plan;
  return problems.length > 0
    ? { ok: false, problems }
    : { ok: true, query: { ...plan.question.query, everyMs: view.grainMs, windowMs: view.grainMs } };
}

/**
 * Returns the query of the view that a table is. All shards are in one bucket of the answer, so that rows are sorted by
 * their key.
 */
function tableQuery(
  view: View,
  table: Table,
  asked: {
    readonly keys: readonly TableKey[] | null;
    readonly order: Query["order"];
    readonly limit: number;
    readonly columns: readonly string[];
  },
): Query {
  const isLatest = table.kind === "latest";
  const by = Object.keys(view.by);
  const shards = asked.keys?.map((key) => shardOf(key, table)) ?? [0, table.shards - 1];
  const sorted = asked.order.map(({ field }) => field);
  const measures = Object.keys(view.measures).filter(
    (name) => isLatest || asked.columns.includes(name) || sorted.includes(name),
  );
  return {
    fromMs: Math.min(...shards),
    toMs: Math.max(...shards) + 1,
    everyMs: table.shards,
    calendar: null,
    windowMs: table.shards,
    zone: "UTC",
    by,
    where:
      asked.keys === null ? new Map() : new Map(by.map((name, index) => [name, valuesAt(asked.keys ?? [], index)])),
    measures,
    order: asked.order.map(({ field, ...rest }) => ({
      ...rest,
      field: isLatest && !by.includes(field) ? `${LATEST}.${field}` : field,
    })),
    limit: asked.limit,
  };
}

function valuesAt(keys: readonly TableKey[], index: number): string[] {
  return [...new Set(keys.map((key) => String(key[index])))];
}

/** Returns the values of a key in a client's text, one for each part. */
function keyOf(
  view: View,
  texts: readonly string[],
  parameter: string,
  fail: (parameter: string, problem: string, allowed: string) => void,
): TableKey {
  const parts = Object.keys(view.by);
  if (texts.length !== parts.length)
    fail(
      parameter,
      `has ${amount(texts.length, "part")}, not ${parts.length}`,
      `${parts.join("/")}, with / within a part written as %2F`,
    );
  return texts.map((text, index) => {
    const name = parts[index] ?? "";
    const stored = storedText(view, name, text);
    if (stored === null) fail(parameter, `"${text.slice(0, 60)}" is not a value of ${name}`, "a value as rows show it");
    return stored ?? text;
  });
}

/** Returns the key of a row in the form of state. */
export function storedKey(view: View, row: Row): TableKey {
  return Object.keys(view.by).map((name) => {
    const text = String(row[name]);
    return storedText(view, name, text) ?? text;
  });
}

/**
 * Returns the text that state has for a part of a key, from the text of a row: a decimal's units, an instant's
 * milliseconds. Null for an invalid text.
 */
function storedText(view: View, name: string, text: string): string | null {
  const scale = dimensionScales(view).get(name) ?? 0;
  if (scale > 0) return unitsOfText(text, scale);
  if (!isShownInstant(view, name) || /^-?\d+$/.test(text)) return text;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? null : String(timeMs);
}

/**
 * Whether rows show this part of the key as ISO 8601. They do for newest records, whose fields are shown by their own
 * types.
 */
function isShownInstant(view: View, name: string): boolean {
  const spec = view.table?.kind === "latest" ? view.stream.fields[name]?.spec : undefined;
  return spec !== undefined && bare(spec).type === "instant";
}

/** Returns a filter's value in the form of rows: 12.50 is 12.5 for a decimal. */
function shownFilter(view: View, name: string, text: string): string | null {
  const value = filterValue(text);
  const scale = value === null ? 0 : scaleOf(view, name);
  const units = scale === 0 || value === null ? null : unitsOfText(value, scale);
  return units === null ? value : String(presentDecimal(BigInt(units), scale));
}

/** Returns the decimal places of a column. 0 if it is not a decimal. */
function scaleOf(view: View, name: string): number {
  const field = view.table?.kind === "latest" ? view.stream.fields[name]?.spec : undefined;
  const spec = field === undefined ? undefined : bare(field);
  if (spec?.type === "decimal") return spec.scale;
  return dimensionScales(view).get(name) ?? view.measures[name]?.scale ?? 0;
}

/** Whether a group is one of the wanted keys, begins with the prefix, and comes after the page before. */
export function keyIsAsked(
  view: View,
  { keys, prefix, after }: Pick<TableQuestion, "keys" | "prefix" | "after">,
  group: readonly GroupValue[],
): boolean {
  if (keys !== null && !keys.some((key) => key.every((part, index) => part === String(group[index])))) return false;
  if (prefix !== "" && !keyText(view, group[0] ?? null).startsWith(prefix)) return false;
  return after === null || compareKeys(group, after) > 0;
}

/** Returns the first part of a key as text, for comparison with a prefix. A decimal has all of its places. */
function keyText(view: View, value: GroupValue): string {
  const [name = ""] = Object.keys(view.by);
  const scale = dimensionScales(view).get(name) ?? 0;
  return scale === 0 || value === null ? String(value) : decimalText(BigInt(value), scale);
}

/** Compares two keys, in the order of an answer's rows. */
export function compareKeys(a: readonly GroupValue[], b: readonly GroupValue[]): number {
  for (const [index, value] of a.entries()) {
    const compared = comparePresented(sortable(value), sortable(b[index] ?? null), false);
    if (compared !== 0) return compared;
  }
  return 0;
}

/**
 * Returns a value of a key for sorting, as text. A key's values have one type, but the text in a page's token has none.
 */
function sortable(value: GroupValue): Presented {
  return value === null ? null : String(value);
}

/** Returns the row of a table for a row of its view. Null for a key whose newest record deletes it. */
export function tableRow(view: View, row: Row, columns: readonly string[]): Row | null {
  if (view.table?.kind !== "latest") return Object.fromEntries(columns.map((name) => [name, row[name] ?? null]));
  const record = row[LATEST] as Row | null;
  if (record === null) return null;
  return Object.fromEntries(columns.map((name) => [name, record[name] ?? row[name] ?? null]));
}
