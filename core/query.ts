import { type Cell, CellTable, type GroupValue, stateOf } from "./cells.ts";
import type { Presented } from "./measures/measure.ts";
import type { EpochMs } from "./position.ts";
import { bucketOf, formatDuration, parseDuration, parseTime } from "./time.ts";
import type { View } from "./view.ts";

/** What a client asks of a view, with every default filled in. */
export interface Query {
  /** Event time `[fromMs, toMs)`, aligned to the view's grain; null: decided by what the view holds. */
  readonly fromMs: EpochMs | null;
  readonly toMs: EpochMs | null;
  readonly everyMs: number;
  /** Dimensions to group by, a subset of the view's. */
  readonly by: readonly string[];
  /** Dimension -> the values it may have. */
  readonly where: ReadonlyMap<string, readonly GroupValue[]>;
  readonly measures: readonly string[];
  /** Columns to sort by; "bucket" and the dimensions break ties. */
  readonly order: readonly { readonly field: string; readonly descending: boolean }[];
  readonly limit: number;
}

/** The parameter that is wrong, and what would be right. */
export interface QueryProblem {
  readonly parameter: string;
  readonly problem: string;
  readonly allowed: string;
}

export const DEFAULT_LIMIT = 1_000;
export const MAX_LIMIT = 100_000;
export const DEFAULT_WINDOW_MS = 86_400_000;

type Parameters = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Reads a request's parameters: from, to, every, by, where[dimension], measures, order, limit. Lists are separated by commas.
 * Total: any input gives a query or the list of what is wrong with it.
 */
export function planQuery(
  view: View,
  parameters: Parameters,
): { ok: true; query: Query } | { ok: false; problems: QueryProblem[] } {
  const problems: QueryProblem[] = [];
  const fail = (parameter: string, problem: string, allowed: string) => problems.push({ parameter, problem, allowed });
  const single = (name: string) => {
    const value = parameters[name];
    if (value === undefined || typeof value === "string") return value;
    fail(name, "given more than once", `${name} once`);
    return undefined;
  };
  const dimensions = Object.keys(view.by);

  const instantOf = (name: string) => {
    const text = single(name);
    if (text === undefined) return null;
    const time = parseTime(text);
    if (time === null)
      fail(name, `${shown(text)} is no time`, "ISO 8601 such as 2026-01-31T12:00:00Z, or epoch milliseconds");
    return time;
  };
  const names = (name: string, allowed: readonly string[], fallback: readonly string[]) => {
    const text = single(name);
    if (text === undefined) return fallback;
    const wanted = text.split(",").filter((part) => part !== "");
    for (const unknown of wanted.filter((part) => !allowed.includes(part)))
      fail(name, `${shown(unknown)} is not known`, allowed.join(", ") || "nothing");
    return [...new Set(wanted)];
  };

  const from = instantOf("from");
  const to = instantOf("to");
  const every = single("every");
  const everyMs = every === undefined ? view.grainMs : (parseDuration(every) ?? 0);
  if (everyMs <= 0 || everyMs % view.grainMs !== 0) {
    fail(
      "every",
      `${shown(every ?? "")} cannot be made of buckets of ${formatDuration(view.grainMs)}`,
      `a multiple of ${formatDuration(view.grainMs)}`,
    );
  }
  if (from !== null && to !== null && from >= to) fail("to", "not after from", "a time after from");
  const by = names("by", dimensions, dimensions);
  const measures = names("measures", Object.keys(view.measures), Object.keys(view.measures));
  const where = planWhere(dimensions, parameters, fail);
  const order = (single("order") ?? "bucket").split(",").map((part) => ({
    field: part.replace(/^-/, ""),
    descending: part.startsWith("-"),
  }));
  const sortable = ["bucket", ...by, ...measures];
  for (const { field } of order)
    if (!sortable.includes(field))
      fail(
        "order",
        `${shown(field)} is no column of this answer`,
        sortable.map((name) => `${name}, -${name}`).join(", "),
      );
  const limitText = single("limit");
  const limit = limitText === undefined ? DEFAULT_LIMIT : Number(limitText);
  if (!/^\d{1,6}$/.test(limitText ?? "1") || limit < 1 || limit > MAX_LIMIT)
    fail("limit", `${shown(limitText ?? "")} is no such number`, `1 to ${MAX_LIMIT}`);
  for (const name of Object.keys(parameters)) {
    if (!KNOWN.has(name) && !WHERE.test(name))
      fail(name, "no such parameter", [...KNOWN, "where[dimension]"].join(", "));
  }
  if (problems.length > 0) return { ok: false, problems };
  const fromMs = from === null ? null : bucketOf(from, view.grainMs);
  const toMs = to === null ? null : -bucketOf(-to, view.grainMs);
  return { ok: true, query: { fromMs, toMs, everyMs, by, where, measures, order, limit } };
}

const WHERE = /^where\[(.*)\]$/s;
const KNOWN = new Set(["from", "to", "every", "by", "measures", "order", "limit"]);

/** What a client sent, for a sentence: quoted, and cut when it is long. */
function shown(text: string): string {
  return text.length > 60 ? `"${text.slice(0, 60)}…"` : `"${text}"`;
}

function planWhere(
  dimensions: readonly string[],
  parameters: Parameters,
  fail: (parameter: string, problem: string, allowed: string) => void,
): Map<string, readonly GroupValue[]> {
  const where = new Map<string, readonly GroupValue[]>();
  for (const [name, value] of Object.entries(parameters)) {
    const dimension = WHERE.exec(name)?.[1];
    if (dimension === undefined || value === undefined) continue;
    if (!dimensions.includes(dimension))
      fail(
        name,
        `${shown(dimension)} is no dimension`,
        dimensions.map((known) => `where[${known}]`).join(", ") || "none",
      );
    else where.set(dimension, [value].flat());
  }
  return where;
}

/** The default window: the last 24 hours of event time that the view holds, or the whole last bucket where that is longer. */
export function windowOf(query: Query, view: View, lastBucket: EpochMs | null): { fromMs: EpochMs; toMs: EpochMs } {
  const toMs =
    query.toMs ??
    (query.fromMs !== null && lastBucket === null ? query.fromMs + view.grainMs : (lastBucket ?? 0) + view.grainMs);
  const fromMs = query.fromMs ?? toMs - Math.max(DEFAULT_WINDOW_MS, view.grainMs);
  return { fromMs, toMs: Math.max(toMs, fromMs) };
}

/** Whether a group passes the query's filter. Values come from a URL, so they are compared as text; null is "null". */
export function groupMatches(view: View, query: Query, group: readonly GroupValue[]): boolean {
  return Object.keys(view.by).every((dimension, index) => {
    const allowed = query.where.get(dimension);
    return allowed === undefined || allowed.some((value) => String(value) === String(group[index] ?? null));
  });
}

export type Row = Readonly<Record<string, Presented>>;

/**
 * Cells of the query's own buckets and dimensions -> sorted, limited, presented rows. `bucket` is ISO 8601.
 * Only what is sorted by is presented for every cell: an estimate costs more than the rest of its row.
 */
export function presentRows(view: View, query: Query, cells: readonly Cell[]): { rows: Row[]; truncated: boolean } {
  const columns = new Map<string, (cell: Cell) => Presented>([["bucket", (cell) => cell.bucket]]);
  for (const [index, dimension] of query.by.entries()) columns.set(dimension, (cell) => cell.group[index] ?? null);
  for (const name of query.measures)
    columns.set(name, (cell) => view.measures[name]?.present(stateOf(cell, name)) ?? null);
  const keys = [...query.order, ...["bucket", ...query.by].map((field) => ({ field, descending: false }))];
  const sorted = cells.map((cell) => ({ cell, keys: keys.map(({ field }) => columns.get(field)?.(cell) ?? null) }));
  sorted.sort((a, b) => {
    for (const [index, { descending }] of keys.entries()) {
      const order = comparePresented(a.keys[index] ?? null, b.keys[index] ?? null, descending);
      if (order !== 0) return order;
    }
    return 0;
  });
  const rows = sorted.slice(0, query.limit).map(({ cell }) => {
    const row = Object.fromEntries([...columns].map(([name, present]) => [name, present(cell)]));
    return { ...row, bucket: new Date(cell.bucket).toISOString() };
  });
  return { rows, truncated: sorted.length > query.limit };
}

/** Nulls last in both directions; numbers (also those given as text) by value and before text; text by code unit: every process sorts alike. */
function comparePresented(a: Presented, b: Presented, descending: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const order = compareValues(a, b);
  return descending ? -order : order;
}

function compareValues(a: NonNullable<Presented>, b: NonNullable<Presented>): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== null && right !== null) return left < right ? -1 : left > right ? 1 : 0;
  if (left !== null || right !== null) return left !== null ? -1 : 1;
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}

/** JavaScript compares a bigint with a number by value, so that long integers and fractions have one order. */
function numberOf(value: NonNullable<Presented>): number | bigint | null {
  if (typeof value === "number") return value;
  return typeof value === "string" && /^-?\d{1,40}$/.test(value) ? BigInt(value) : null;
}

/** The table that a query's answer is merged in, and how a stored cell's coordinates map to the answer's. */
export function answerTable(view: View, query: Query) {
  const dimensions = Object.keys(view.by);
  const picks = query.by.map((name) => dimensions.indexOf(name));
  return {
    table: new CellTable(view),
    bucket: (bucket: EpochMs): EpochMs => bucketOf(bucket, query.everyMs),
    group: (group: readonly GroupValue[]): GroupValue[] => picks.map((index) => group[index] ?? null),
  };
}
