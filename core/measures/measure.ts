import type { Described } from "../contract/described.ts";
import type { Sql } from "../contract/sql.ts";
import type { Fraction } from "../numbers/fraction.ts";
import type { Registers } from "../numbers/hll.ts";

/** The ways to merge two states of a component. All are commutative and associative to the bit. */
export type Merge = "sum" | "min" | "max" | "first" | "last";

/** A mergeable value: a 64-bit integer, or the text of a pick (`first`, `last`). */
export type StateValue = bigint | string;

/** The item of a component that has a value for each item: an integer (a bin) or a text. */
export type Item = number | string;

/** The merge functions. A pick's text begins with the place of its event, so comparing texts compares places. */
export const MERGE: Readonly<Record<Merge, (a: StateValue, b: StateValue) => StateValue>> = {
  sum: (a, b) => (a as bigint) + (b as bigint),
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
  first: (a, b) => (a < b ? a : b),
  last: (a, b) => (a > b ? a : b),
};

/**
 * A part of a measure's state in a cell. Its form:
 *
 *   integer    one mergeable integer; `partial` is an aggregate that yields BIGINT or NULL
 *   items      one mergeable integer for each of many items; `item` is SQL of one event's item, `partial` an aggregate
 *              over its events
 *   pick       the value of the first or last event; `partial` is SQL of one event's value
 *   registers  the 16,384 registers of a HyperLogLog, merged by max; `partial` is the UBIGINT hash of one event's value
 */
export interface Component {
  readonly name: string;
  readonly form: "integer" | "items" | "pick" | "registers";
  readonly merge: Merge;
  readonly partial: string;
  /**
   * Of integers and items: SQL of `partial` for one event alone, NULL or an integer. Merged over some events, it gives
   * the same as `partial`. Absent for picks and registers, whose `partial` is for one event already.
   */
  readonly single?: string;
  readonly item?: { readonly sql: string; readonly type: "integer" | "text" };
  /** Of registers: SQL of the text of one event's value. `partial` is its hash. */
  readonly text?: string;
  /** Of a pick: "log" if the place of its event is its position alone. Absent: its event time comes first. */
  readonly place?: "log";
  /** SQL: whether an event has a value for this component. Absent: every event has. */
  readonly given?: string;
}

/**
 * The number of events (or lines) that a cell counts. Every view has it under this name, because it shows which groups
 * exist.
 */
export const ROWS: Component = { name: "rows", form: "integer", merge: "sum", partial: "count(*)", single: "1" };

/** The state of one cell, as a measure presents it. */
export interface CellState {
  integer(component: string): bigint | undefined;
  items(component: string): ReadonlyMap<Item, bigint>;
  /** Returns the picked value, from its JSON. */
  pick(component: string): Presented | undefined;
  registers(component: string): Registers | undefined;
}

/**
 * A presented value. An integer beyond 2^53-1, or a decimal of more than 15 digits, is the text of all its digits,
 * because a double cannot hold it.
 */
export type Presented = number | string | boolean | null;

/** The value of a field in a row: one value, several named ones (quantiles), or a list of records (top items, bins). */
export type PresentedField =
  | Presented
  | Readonly<Record<string, Presented>>
  | readonly Readonly<Record<string, Presented>>[];

/** The accuracy of a field: whether the number is exact, and if not how large its error is. */
export interface Accuracy {
  readonly exact: boolean;
  /** Relative error: a standard error for distinct counts, a bound for quantiles; 0 when exact. */
  readonly error: number;
  readonly note: string;
}

export const EXACT: Accuracy = { exact: true, error: 0, note: "exact" };

/** Returns the decimal places of an expression's integers. 0 if it has none. */
export type ScaleOf = (sql: Sql) => number;

/** The type of a measure's numbers. "picked": the type of the expression. */
export type Values = "integer" | "decimal" | "double" | "picked";

/** A measure as data: the arguments of its builder. Plain JSON; `measureFrom` in kinds.ts makes the measure again. */
export type MeasureSpec = Readonly<Record<string, unknown>> & { readonly kind: string };

/**
 * A value that a proof computes from all events of a row at once, by plain SQL over the lines of `core/proof/plain.ts`.
 * These have `_time`, `_partition`, `_offset` and `_line` in addition to the contract's columns:
 *
 *   aggregate  an aggregate over the row's lines
 *   items      the items with the greatest weights, the heaviest first; equal ones in the order of their code points
 *   registers  one HyperLogLog of every different value, by the UBIGINT hash of one line's value
 */
export type PlainColumn =
  | { readonly form: "aggregate"; readonly sql: string }
  | { readonly form: "items"; readonly item: string; readonly weight: string; readonly show: number }
  | { readonly form: "registers"; readonly hash: string; readonly given: string };

/** In a proof, a quotient that is not computed yet: dividend and divisor. */
export type PlainTerms = readonly [over: bigint, under: bigint];

/** The values of the columns in one row. */
export interface PlainFound {
  /** Returns the value as DuckDB returns it. */
  aggregate(column: string): unknown;
  items(column: string): readonly (readonly [item: string, weight: bigint])[];
  registers(column: string): Registers;
}

/**
 * A measure computed by its definition, for a proof: from all events, without state, merging or any formula of an
 * answer.
 */
export interface Plain {
  readonly columns: Readonly<Record<string, PlainColumn>>;
  /** Returns the field that an answer has to have. */
  readonly present: (found: PlainFound) => PresentedField;
  /** For a measure of one number: that number before it is rounded, for a ratio. */
  readonly terms?: (found: PlainFound) => PlainTerms | null;
  /** The relative error that an answer's numbers may have. Absent: none. */
  readonly within?: number;
  /** For an estimate: the exact number. */
  readonly truth?: (found: PlainFound) => bigint;
}

/** A mergeable aggregate. Each kind is one file that contains all forms of it. */
export interface Measure extends Described {
  readonly kind: string;
  readonly spec: MeasureSpec;
  readonly unit: string;
  readonly accuracy: Accuracy;
  /** The expressions that it reads. They are checked against the stream's columns at start-up. */
  readonly inputs: readonly { readonly sql: Sql; readonly type: "integer" | "condition" | "any" }[];
  readonly components: readonly Component[];
  /** The type of its numbers. A double is the nearest one to the exact value. */
  readonly values: Values;
  /** The number of decimal places. 0 if it has none. State keeps integers of 10^-scale units. */
  readonly scale: number;
  /** The same measure, answered in the units of the decimal fields that it reads. */
  readonly withScales?: (scaleOf: ScaleOf) => Measure;
  /** Returns the value to sort rows by, if it is not the presented one. */
  readonly sortKey?: (state: CellState) => Presented;
  /** The names of its values if it presents several (`p50`, `p99`), or "list". Absent: it presents one value. */
  readonly parts?: readonly string[] | "list";
  readonly present: (state: CellState) => PresentedField;
  /** For a measure of one number: that number before it is rounded, for a ratio. Null if it presents none. */
  readonly exact?: (state: CellState) => Fraction | null;
  readonly plain: Plain;
  /** The problem with the arguments that it was made with. Absent if there is none. */
  readonly problem?: string;
}

/** Returns a 64-bit integer for JSON: a number while that is exact, else text. */
export function presentInteger(value: bigint): number | string;
export function presentInteger(value: bigint | undefined): Presented;
export function presentInteger(value: bigint | undefined): Presented {
  if (value === undefined) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** Returns the integer of a number or a text. Null for anything else, and for a number that may have been rounded. */
export function integerOf(value: unknown): bigint | null {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : null;
  return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : null;
}

/** Returns the value of a pick from its JSON. An integer that a double would round stays text. */
export function pickedValue(json: string): Presented {
  const integer = integerOf(json);
  return integer === null ? (JSON.parse(json) as Presented) : presentInteger(integer);
}
