import { SESSION_COLUMNS, type View } from "../definition/view.ts";
import type { WrongParameter } from "../errors.ts";
import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { dimensionScales, unitsOfText } from "../measures/decimals.ts";
import type { GroupValue } from "../state/cells.ts";
import { bucketOf, formatDuration, parseDuration, parseUrlTime } from "../time.ts";
import { type CalendarGrain, calendarStarts, parseCalendarUnit, parseZone, startOf } from "./calendar.ts";
import { filterAllows, filterValue } from "./filter.ts";
import { type NumberRange, shown, wholeNumber } from "./parameters.ts";

/** A client's query of a view, with every default filled in. */
export interface Query {
  /** Event time `[fromMs, toMs)`, aligned to the view's grain. Null: the newest buckets of the view decide. */
  readonly fromMs: EpochMs | null;
  readonly toMs: EpochMs | null;
  /** The width of a bucket. With `calendar`, the view's grain. */
  readonly everyMs: number;
  /** Buckets of a calendar: days and weeks of a time zone, months, quarters, years. */
  readonly calendar: CalendarGrain | null;
  /** The time that a row covers, up to the end of its bucket: `everyMs`, or a multiple of it for sliding windows. */
  readonly windowMs: number;
  /** The time zone of shown instants. */
  readonly zone: string;
  /** Dimensions to group by, a subset of the view's. */
  readonly by: readonly string[];
  /** The allowed values of each dimension, as text. Null means no value. */
  readonly where: ReadonlyMap<string, readonly GroupValue[]>;
  readonly measures: readonly string[];
  /** Columns to sort by. Rows with equal values are sorted by "bucket" and the dimensions. */
  readonly order: readonly { readonly field: string; readonly descending: boolean }[];
  readonly limit: number;
}

export const DEFAULT_LIMIT = 1_000;
export const MAX_LIMIT = 100_000;
/** The number of rows that a query may ask for. */
export const ROW_LIMIT: NumberRange = { most: MAX_LIMIT, byDefault: DEFAULT_LIMIT };
export const DEFAULT_WINDOW_MS = 86_400_000;

type Parameters = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Reads a request's parameters: from, to, every, zone, window, by, where[dimension], measures, order, limit. Lists are
 * separated by commas. Any input gives a query or a list of its errors.
 */
export function planQuery(
  view: View,
  parameters: Parameters,
): { ok: true; query: Query } | { ok: false; problems: WrongParameter[] } {
  const problems: WrongParameter[] = [];
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
    const time = parseUrlTime(text);
    if (time === null)
      fail(
        name,
        `${shown(text)} is not a time`,
        "ISO 8601 such as 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+01:00, or epoch milliseconds",
      );
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
  const { everyMs, calendar, windowMs, zone } = planBuckets(view, single, fail);
  if (from !== null && to !== null && from >= to) fail("to", "not after from", "a time after from");
  const by = names("by", dimensions, dimensions);
  if (view.sessions !== null && by.length < dimensions.length)
    fail("by", "a session belongs to one value of every dimension", dimensions.join(","));
  const measures = names("measures", Object.keys(view.measures), Object.keys(view.measures));
  const where = planWhere(view, parameters, fail);
  const order = planOrder(single("order") ?? "bucket", orderColumns(view, by, measures), fail);
  const limit = wholeNumber("limit", single("limit"), ROW_LIMIT, fail);
  for (const name of Object.keys(parameters)) {
    if (!isQueryParameter(name)) fail(name, "no such parameter", [...KNOWN, "where[dimension]"].join(", "));
  }
  if (problems.length > 0) return { ok: false, problems };
  const fromMs = from === null ? null : bucketOf(from, view.grainMs);
  const toMs = to === null ? null : -bucketOf(-to, view.grainMs);
  return { ok: true, query: { fromMs, toMs, everyMs, calendar, windowMs, zone, by, where, measures, order, limit } };
}

const WHERE = /^where\[(.*)\]$/s;
/** The parameters of a query without where[dimension]. */
export const QUERY_PARAMETERS = ["from", "to", "every", "zone", "window", "by", "measures", "order", "limit"] as const;
const KNOWN: ReadonlySet<string> = new Set(QUERY_PARAMETERS);

/** Whether `planQuery` reads a parameter of this name. */
export function isQueryParameter(name: string): boolean {
  return KNOWN.has(name) || WHERE.test(name);
}

const MOST_WINDOWS = 1_440;

/** Reads `every`, `zone` and `window`, which decide the buckets of rows. */
function planBuckets(
  view: View,
  single: (name: string) => string | undefined,
  fail: (parameter: string, problem: string, allowed: string) => void,
): Pick<Query, "everyMs" | "calendar" | "windowMs" | "zone"> {
  const grain = formatDuration(view.grainMs);
  const [every, zoneText, window] = [single("every"), single("zone"), single("window")];
  const zone = zoneText === undefined ? "UTC" : parseZone(zoneText);
  if (zone === null)
    fail("zone", `${shown(zoneText ?? "")} is not a time zone`, "an IANA name such as Europe/Berlin, or UTC");
  const tumbling = { everyMs: view.grainMs, calendar: null, windowMs: view.grainMs, zone: zone ?? "UTC" };
  if (view.sessions !== null) {
    for (const [name, given] of Object.entries({ every, window }))
      if (given !== undefined) fail(name, "rows of this view are sessions", "nothing: leave it out");
    return tumbling;
  }
  const unit = every === undefined ? null : parseCalendarUnit(every);
  if (unit !== null && (unit !== "day" || tumbling.zone !== "UTC")) {
    if (view.grainMs > DEFAULT_WINDOW_MS && unit !== "all")
      fail("every", `a view of ${grain} has no days to add up`, `a multiple of ${grain}`);
    if (window !== undefined)
      fail("window", "windows slide over buckets of one length", "every in seconds to days, in UTC");
    return { ...tumbling, calendar: { unit, zone: tumbling.zone } };
  }
  const everyMs = every === undefined ? view.grainMs : (parseDuration(every) ?? 0);
  if (everyMs <= 0 || everyMs % view.grainMs !== 0) {
    const allowed = `a multiple of ${grain}, or 1d, 1w, 1mo, 1q, 1y, all`;
    fail("every", `${shown(every ?? "")} cannot be made of buckets of ${grain}`, allowed);
    return tumbling;
  }
  const usual = view.windowMs > everyMs && view.windowMs % everyMs === 0 ? view.windowMs : everyMs;
  const windowMs = window === undefined ? usual : (parseDuration(window) ?? 0);
  if (windowMs < everyMs || windowMs % everyMs !== 0 || windowMs > everyMs * MOST_WINDOWS) {
    const width = formatDuration(everyMs);
    fail(
      "window",
      `${shown(window ?? "")} cannot slide by ${width}`,
      `a multiple of ${width}, at most ${MOST_WINDOWS} times`,
    );
  }
  return { everyMs, calendar: null, windowMs, zone: tumbling.zone };
}

function planWhere(
  view: View,
  parameters: Parameters,
  fail: (parameter: string, problem: string, allowed: string) => void,
): Map<string, readonly GroupValue[]> {
  const where = new Map<string, readonly GroupValue[]>();
  const dimensions = Object.keys(view.by);
  for (const [name, value] of Object.entries(parameters)) {
    const dimension = WHERE.exec(name)?.[1];
    if (dimension === undefined || value === undefined) continue;
    if (!dimensions.includes(dimension))
      fail(
        name,
        `${shown(dimension)} is not a dimension`,
        dimensions.map((known) => `where[${known}]`).join(", ") || "none",
      );
    else
      where.set(
        dimension,
        filterValues(view, dimension, [value].flat(), (what, allowed) => fail(name, what, allowed)),
      );
  }
  return where;
}

/**
 * Returns the values that a filter of one dimension allows, in the form of the state: decimals in units of their last
 * place.
 */
function filterValues(
  view: View,
  dimension: string,
  texts: readonly string[],
  fail: (problem: string, allowed: string) => void,
): (string | null)[] {
  const scale = dimensionScales(view).get(dimension) ?? 0;
  return texts.map((text) => {
    const value = filterValue(text);
    if (scale === 0 || value === null) return value;
    const units = unitsOfText(value, scale);
    if (units === null)
      fail(`${shown(value)} is not a value of it`, `a number with at most ${scale} decimal places, or null`);
    return units ?? value;
  });
}

/** The newest buckets of a view: of all, and of those that do not begin after now. Null if there are none. */
export interface NewestBuckets {
  readonly untilNow: EpochMs | null;
  readonly any: EpochMs | null;
}

/**
 * Returns the event time of a query. Without `to` it ends with the newest bucket that does not begin after now, so that
 * one event with a wrong clock does not hide all others. Only if `from` is after now, newer buckets count too. Without
 * `from` it begins 24 hours before the end, or one bucket if that is longer.
 */
export function windowOf(query: Query, view: View, newest: NewestBuckets, nowMs: EpochMs): TimeRange {
  const { untilNow, any } = newest;
  const asksForLater = query.fromMs !== null && any !== null && query.fromMs > nowMs;
  const last = asksForLater ? any : untilNow;
  const toMs = query.toMs ?? (last ?? query.fromMs ?? 0) + view.grainMs;
  const fromMs = query.fromMs ?? toMs - Math.max(DEFAULT_WINDOW_MS, view.grainMs);
  return { fromMs, toMs: Math.max(toMs, fromMs) };
}

/**
 * Returns the range of state buckets for the rows of `window`. It is larger than the window for sliding windows.
 * Sessions that begin in the window are read to their end, even beyond it.
 */
export function readRange(view: View, query: Query, { fromMs, toMs }: TimeRange): TimeRange {
  const { everyMs, windowMs } = query;
  const gapMs = gapOf(view, query);
  if (gapMs !== null) return { fromMs: bucketOf(fromMs - gapMs, view.grainMs), toMs };
  if (windowMs === everyMs) return { fromMs, toMs };
  return { fromMs: bucketOf(fromMs, everyMs) - (windowMs - everyMs), toMs };
}

/**
 * Returns the gap of sessions, if the query's rows are sessions. Null if they are buckets, as when the values of a
 * dimension are counted.
 */
export function gapOf(view: View, { everyMs }: Query): number | null {
  return everyMs === view.grainMs ? (view.sessions?.gapMs ?? null) : null;
}

/**
 * Returns the starts of the calendar's buckets in `range`. Null where all buckets have one width. Throws RangeError
 * where they do not fit the view's buckets.
 */
export function bucketStarts(view: View, { calendar }: Query, range: TimeRange): readonly EpochMs[] | null {
  if (calendar === null) return null;
  const starts = calendarStarts(calendar, range.fromMs, range.toMs);
  const torn = starts.find((start) => start % view.grainMs !== 0);
  if (torn === undefined) return starts;
  const grain = formatDuration(view.grainMs);
  throw new RangeError(
    `a ${calendar.unit} in ${calendar.zone} begins at ` +
      `${new Date(torn).toISOString()}, in the middle of a bucket of ${grain}`,
  );
}

/** Whether a group passes the query's filter. */
export function groupMatches(view: View, query: Query, group: readonly GroupValue[]): boolean {
  return Object.keys(view.by).every((dimension, index) => {
    const allowed = query.where.get(dimension);
    return allowed === undefined || filterAllows(allowed, group[index] ?? null);
  });
}

function planOrder(
  text: string,
  sortable: readonly string[],
  fail: (parameter: string, problem: string, allowed: string) => void,
): Query["order"] {
  const order = text.split(",").map((part) => ({ field: part.replace(/^-/, ""), descending: part.startsWith("-") }));
  const allowed = sortable.map((name) => `${name}, -${name}`).join(", ");
  for (const { field } of order)
    if (!sortable.includes(field)) fail("order", `${shown(field)} is not a column of this answer`, allowed);
  return order;
}

/** Returns the columns that an answer with these dimensions and measures can be sorted by. */
function orderColumns(view: View, by: readonly string[], measures: readonly string[]): string[] {
  const sessions = view.sessions === null ? [] : SESSION_COLUMNS;
  return ["bucket", ...sessions, ...by, ...measures.flatMap((name) => sortableColumns(view, name))];
}

/** Returns the sortable columns of a measure: itself, or its parts such as `delay.p99`. A list has no order. */
export function sortableColumns(view: View, measure: string): string[] {
  const parts = view.measures[measure]?.parts;
  if (parts === undefined) return [measure];
  return parts === "list" ? [] : parts.map((part) => `${measure}.${part}`);
}

/**
 * Returns functions that map the coordinates of stored state to those of the cells of an answer. `bucket` is the start
 * of the query's bucket that contains a stored one. Windows are computed from these buckets later.
 */
export function answerPlaces(view: View, query: Query, window: TimeRange) {
  const dimensions = Object.keys(view.by);
  const picks = query.by.map((name) => dimensions.indexOf(name));
  const starts = bucketStarts(view, query, window);
  return {
    bucket: (stored: EpochMs): EpochMs => (starts === null ? bucketOf(stored, query.everyMs) : startOf(starts, stored)),
    group: (group: readonly GroupValue[]): GroupValue[] => picks.map((index) => group[index] ?? null),
  };
}
