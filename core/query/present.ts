import { z } from "zod";
import { componentKey } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { shownGroupValue } from "../measures/decimals.ts";
import type { Measure, Presented, PresentedField } from "../measures/measure.ts";
import { comparePresented } from "../measures/order.ts";
import { type Cell, type Group, type GroupKey, stateOf } from "../state/cells.ts";
import { bucketOf } from "../time.ts";
import { Budget } from "./budget.ts";
import { isoInZone } from "./calendar.ts";
import { type AnswerRange, cutBuckets, partialColumn } from "./partial.ts";
import type { Query } from "./query.ts";
import { sessionEnd, weightOf } from "./sessions.ts";
import { type SlideOptions, slide } from "./windows.ts";
import { finish, STEP, sorting, type Work } from "./work.ts";

export type Row = Readonly<Record<string, PresentedField>>;

/** A row with any columns. */
export const AnyRow = z.custom<Row>((value) => typeof value === "object" && value !== null).meta({ type: "object" });

export interface PresentedRows {
  readonly rows: Row[];
  /** Whether there are more rows than the query's limit. */
  readonly truncated: boolean;
}

/**
 * A row before it is presented: its coordinates and its sort values. `cell` is null if its window has to be computed
 * again.
 */
interface Candidate extends Group {
  readonly bucket: EpochMs;
  readonly cell: Cell | null;
  readonly keys: readonly Presented[];
}

/** A query, its view, and the event time of the wanted rows. */
export interface Asked {
  readonly view: View;
  readonly query: Query;
  readonly window: AnswerRange;
}

/**
 * Turns cells of the query's own buckets and dimensions into sorted, limited, presented rows. `bucket` is ISO 8601. For
 * a view of sessions the cells are whole sessions. For sliding windows the cells are single buckets, and `window` says
 * which rows are wanted. A row whose bucket the window cuts has `partial: true`. Only the sort values are computed for
 * every row, because an estimate costs more than the rest of its row. Throws OverBudget.
 */
export function* presenting(asked: Asked, cells: readonly Cell[], budget: Budget): Work<PresentedRows> {
  const { view, query, window } = asked;
  const columns = columnsOf(view, query);
  const isCut = cutBuckets(view, query, window);
  const partial = { [partialColumn(view)]: true };
  const order = [...query.order, ...["bucket", ...query.by].map((field) => ({ field, descending: false }))];
  const keysOf = keyReader(columns, order);
  const slides = query.windowMs > query.everyMs;
  const candidates = slides
    ? yield* slidCandidates(asked, cells, keysOf, budget)
    : yield* cellCandidates(cells, keysOf);
  const sorted = yield* sorting(candidates, (a, b) => compareKeys(a.keys, b.keys, order));
  const picked = sorted.slice(0, query.limit);
  const present = (cell: Cell): Row => {
    const row = Object.fromEntries([...columns].map(([name, column]) => [name, fieldOf(cell, name, column)]));
    budget.spend("items", listedIn(row));
    // Added after sorting: instants are sorted as numbers, because the text of a zone's time goes back when summer time
    // ends.
    const ended = view.sessions === null ? {} : { ended: isoOf(sessionEnd(cell), query.zone) };
    return { ...row, bucket: isoOf(cell.bucket, query.zone), ...ended, ...(isCut(cell.bucket) ? partial : {}) };
  };
  const rows = slides ? yield* slidRows(asked, cells, picked, present) : yield* cellRows(picked, present);
  return { rows, truncated: sorted.length > query.limit };
}

/** Whether a measure makes a few numbers from many items or registers: quantiles and distinct counts. */
function isKept({ parts, components }: Measure): boolean {
  return parts !== "list" && components.some(({ form }) => form === "items" || form === "registers");
}

function fieldOf(cell: Cell, name: string, { shown, isKept = false }: Column): PresentedField {
  if (!isKept || cell.presented === undefined) return shown(cell);
  cell.presented ??= new Map();
  const held = cell.presented.get(name);
  if (held !== undefined) return held;
  const value = shown(cell);
  cell.presented.set(name, value);
  return value;
}

/** Returns the number of bins and top items in a row. */
function listedIn(row: Row): number {
  let listed = 0;
  for (const value of Object.values(row)) if (Array.isArray(value)) listed += value.length;
  return listed;
}

/** Runs `presenting` at once, without a budget. */
export function presentRows(
  view: View,
  query: Query,
  cells: readonly Cell[],
  window: TimeRange = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY },
): PresentedRows {
  return finish(presenting({ view, query, window }, cells, Budget.unlimited()));
}

/** Returns the windows of a query for `slide`. */
export function windowsOf({ everyMs, windowMs }: Query, { fromMs, toMs }: TimeRange) {
  return { everyMs, windowMs, fromMs: bucketOf(fromMs, everyMs), toMs };
}

/** Returns the components of these measures. */
export function componentsOfMeasures(view: View, measures: Iterable<string>): Set<string> {
  return new Set(
    [...measures].flatMap((name) =>
      (view.measures[name]?.components ?? []).map((part) => componentKey(name, part.name)),
    ),
  );
}

/** A column of the rows: its presented value, and its sort value if that is another one. */
interface Column {
  readonly shown: (cell: Cell) => PresentedField;
  readonly sortedBy?: (cell: Cell) => PresentedField;
  /** Whether its value is small and expensive. Then it is kept for a cell that does not change any more. */
  readonly isKept?: boolean;
}

function columnsOf(view: View, query: Query): Map<string, Column> {
  const columns = new Map<string, Column>([["bucket", { shown: (cell) => cell.bucket }]]);
  if (view.sessions !== null) {
    columns.set("ended", { shown: sessionEnd });
    columns.set("duration_ms", { shown: (cell) => sessionEnd(cell) - cell.bucket });
  }
  for (const [index, dimension] of query.by.entries()) {
    const value = ({ group }: Cell) => group[index] ?? null;
    columns.set(dimension, { shown: (cell) => shownGroupValue(view, dimension, value(cell)), sortedBy: value });
  }
  for (const name of query.measures) {
    const measure = view.measures[name];
    const key = measure?.sortKey;
    columns.set(name, {
      shown: (cell) => measure?.present(stateOf(cell, name)) ?? null,
      isKept: measure !== undefined && isKept(measure),
      ...(key === undefined ? {} : { sortedBy: (cell: Cell) => key(stateOf(cell, name)) }),
    });
  }
  return columns;
}

type Order = readonly { readonly field: string; readonly descending: boolean }[];
type KeysOf = (cell: Cell) => Presented[];

function keyReader(columns: ReadonlyMap<string, Column>, order: Order): KeysOf {
  const readers = order.map(({ field }) => {
    const [name = "", part] = field.split(".");
    const { shown, sortedBy } = columns.get(name) ?? {};
    const column = sortedBy ?? shown;
    return (cell: Cell): Presented => {
      const value = column?.(cell) ?? null;
      return part === undefined ? (value as Presented) : ((value as Record<string, Presented> | null)?.[part] ?? null);
    };
  });
  return (cell) => readers.map((read) => read(cell));
}

function* cellCandidates(cells: readonly Cell[], keysOf: KeysOf): Work<Candidate[]> {
  const candidates: Candidate[] = [];
  for (const cell of cells) {
    candidates.push({ bucket: cell.bucket, group: cell.group, key: cell.key, cell, keys: keysOf(cell) });
    if (candidates.length % STEPS_OF_ROWS === 0) yield STEP;
  }
  return candidates;
}

/** The number of rows presented between two yields. */
const STEPS_OF_ROWS = 100;

function* slidCandidates(
  { view, query, window }: Asked,
  cells: readonly Cell[],
  keysOf: KeysOf,
  budget: Budget,
): Work<Candidate[]> {
  const candidates: Candidate[] = [];
  const sortedBy = query.order.map(({ field }) => field.split(".", 1)[0] ?? "");
  yield* slide(view, cells, windowsOf(query, window), {
    components: componentsOfMeasures(view, sortedBy),
    onWindow: (cell) => {
      budget.spend("windows", 1);
      candidates.push({ bucket: cell.bucket, group: cell.group, key: cell.key, cell: null, keys: keysOf(cell) });
    },
  });
  return candidates;
}

function* cellRows(picked: readonly Candidate[], present: (cell: Cell) => Row): Work<Row[]> {
  const rows: Row[] = [];
  let merges = 0;
  for (const { cell } of picked) {
    if (cell === null) continue;
    rows.push(present(cell));
    merges += weightOf(cell);
    if (merges < STEP) continue;
    yield merges;
    merges = 0;
  }
  return rows;
}

/** Computes the windows of the selected rows again. */
function* slidRows(
  { view, query, window }: Asked,
  cells: readonly Cell[],
  picked: readonly Candidate[],
  present: (cell: Cell) => Row,
): Work<Row[]> {
  const places = new Map<GroupKey, Map<EpochMs, number>>();
  for (const [index, { bucket, key }] of picked.entries()) {
    const buckets = places.get(key) ?? new Map<EpochMs, number>();
    places.set(key, buckets.set(bucket, index));
    if (index % STEP === STEP - 1) yield STEP;
  }
  const windows = windowsOf(query, window);
  const rows = new Array<Row>(picked.length);
  const options: SlideOptions = {
    components: componentsOfMeasures(view, query.measures),
    rangeOf: (key) => {
      const buckets = places.get(key);
      if (buckets === undefined) return null;
      const [fromMs, lastMs] = extent(buckets.keys());
      return { fromMs, toMs: lastMs + query.everyMs };
    },
    onWindow: (cell) => {
      const index = places.get(cell.key)?.get(cell.bucket);
      if (index !== undefined) rows[index] = present(cell);
    },
  };
  yield* slide(view, cells, windows, options);
  return rows;
}

function extent(times: Iterable<EpochMs>): [EpochMs, EpochMs] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const time of times) [least, most] = [Math.min(least, time), Math.max(most, time)];
  return [least, most];
}

function isoOf(timeMs: EpochMs, zone: string): string {
  return zone === "UTC" ? new Date(timeMs).toISOString() : isoInZone(timeMs, zone);
}

function compareKeys(a: readonly Presented[], b: readonly Presented[], order: Order): number {
  for (const [index, { descending }] of order.entries()) {
    const compared = comparePresented(a[index] ?? null, b[index] ?? null, descending);
    if (compared !== 0) return compared;
  }
  return 0;
}
