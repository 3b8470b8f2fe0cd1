import type { Described } from "../contract/described.ts";
import type { Sql } from "../contract/sql.ts";
import type { Fraction } from "../numbers/fraction.ts";
import type { Registers } from "../numbers/hll.ts";

/** How two states of a component become one. All are commutative and associative to the bit. */
export type Merge = "sum" | "min" | "max" | "first" | "last";

/** A mergeable value: a 64-bit integer, or the text of a pick (`first`, `last`). */
export type StateValue = bigint | string;

/** The item of a component that keeps a value for each: an integer (a bin) or a text. */
export type Item = number | string;

/** The merges. A pick's text begins with the place of its event, so that comparing texts compares places. */
export const MERGE: Readonly<Record<Merge, (a: StateValue, b: StateValue) => StateValue>> = {
  sum: (a, b) => (a as bigint) + (b as bigint),
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
  first: (a, b) => (a < b ? a : b),
  last: (a, b) => (a > b ? a : b),
};

/**
 * What a cell holds of a measure:
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
   * Of integers and items: SQL of `partial` for one event alone, NULL or an integer. Merged over some events, it is
   * what `partial` gives for all of them. Picks and registers have none, because their `partial` is for one event.
   */
  readonly single?: string;
  readonly item?: { readonly sql: string; readonly type: "integer" | "text" };
  /** Of registers: SQL of the text of one event's value, whose hash `partial` is. */
  readonly text?: string;
  /** Of a pick: "log" where the place of its event is its position alone; absent: its event time first. */
  readonly place?: "log";
  /** SQL that says whether an event has anything to say to this component; absent: every event has. */
  readonly given?: string;
}

/** How many events (or lines) a cell counts. Every view keeps it under this one name: it says which groups exist. */
export const ROWS: Component = { name: "rows", form: "integer", merge: "sum", partial: "count(*)", single: "1" };

/** The state of one cell as a measure sees it when it is presented. */
export interface CellState {
  integer(component: string): bigint | undefined;
  items(component: string): ReadonlyMap<Item, bigint>;
  /** The value that was picked, as JSON gives it. */
  pick(component: string): Presented | undefined;
  registers(component: string): Registers | undefined;
}

/**
 * A number that a double does not hold, an integer beyond 2^53-1 or a decimal of more than 15 digits, is the text of
 * all its digits.
 */
export type Presented = number | string | boolean | null;

/** What a field of a row can be: a value, several named ones (quantiles), or a list of records (top items, bins). */
export type PresentedField =
  | Presented
  | Readonly<Record<string, Presented>>
  | readonly Readonly<Record<string, Presented>>[];

/** What an answer says about a field: whether the number is exact, and if not how far off it is. */
export interface Accuracy {
  readonly exact: boolean;
  /** Relative error: a standard error for distinct counts, a bound for quantiles; 0 when exact. */
  readonly error: number;
  readonly note: string;
}

export const EXACT: Accuracy = { exact: true, error: 0, note: "exact" };

/** The decimal places of an expression's integers; 0 for none. */
export type ScaleOf = (sql: Sql) => number;

/** What the numbers of a measure are; "picked": what the expression gives. */
export type Values = "integer" | "decimal" | "double" | "picked";

/** A measure as data: what its builder was given. Plain JSON; `measureFrom` in kinds.ts builds it again. */
export type MeasureSpec = Readonly<Record<string, unknown>> & { readonly kind: string };

/**
 * What a proof asks of all events of a row at once, by plain SQL over `core/proof/plain.ts`'s lines, which have
 * `_time`, `_partition`, `_offset` and `_line` beside the contract's columns:
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

/** What the columns hold in one row. */
export interface PlainFound {
  /** As DuckDB gives it. */
  aggregate(column: string): unknown;
  items(column: string): readonly (readonly [item: string, weight: bigint])[];
  registers(column: string): Registers;
}

/**
 * A measure by its definition: how a proof computes it from all events, without state, merging or any formula of an
 * answer.
 */
export interface Plain {
  readonly columns: Readonly<Record<string, PlainColumn>>;
  /** What an answer has to say. */
  readonly present: (found: PlainFound) => PresentedField;
  /** Of a measure of one number: that number before it is rounded, for a ratio. */
  readonly terms?: (found: PlainFound) => PlainTerms | null;
  /** How far an answer's numbers may be off these, relative; absent: not at all. */
  readonly within?: number;
  /** Of an estimate: the exact figure that it stands for. */
  readonly truth?: (found: PlainFound) => bigint;
}

/** A mergeable aggregate. Each kind is one file that owns all of its renderings. */
export interface Measure extends Described {
  readonly kind: string;
  readonly spec: MeasureSpec;
  readonly unit: string;
  readonly accuracy: Accuracy;
  /** What it reads: checked against the stream's columns at start-up. */
  readonly inputs: readonly { readonly sql: Sql; readonly type: "integer" | "condition" | "any" }[];
  readonly components: readonly Component[];
  /** What its numbers are. Of doubles each is the nearest one to its value. */
  readonly values: Values;
  /** How many places its decimals have; 0 for others. State keeps integers of 10^-scale units. */
  readonly scale: number;
  /** The same measure, answered in the units of the decimal fields that it reads. */
  readonly withScales?: (scaleOf: ScaleOf) => Measure;
  /** What rows are sorted by, where that is not what is presented. */
  readonly sortKey?: (state: CellState) => Presented;
  /** The names of its values when it presents several (`p50`, `p99`), or "list"; absent: it presents one value. */
  readonly parts?: readonly string[] | "list";
  readonly present: (state: CellState) => PresentedField;
  /** Of a measure of one number: that number before it is rounded, for a ratio. Null where it presents none. */
  readonly exact?: (state: CellState) => Fraction | null;
  readonly plain: Plain;
  /** What is wrong with the arguments that it was made of; absent: nothing. */
  readonly problem?: string;
}

/** A 64-bit integer for JSON: a number while that is exact, else text. */
export function presentInteger(value: bigint): number | string;
export function presentInteger(value: bigint | undefined): Presented;
export function presentInteger(value: bigint | undefined): Presented {
  if (value === undefined) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** The integer that a number or a text is; null for what is none, and for a number that may have been rounded. */
export function integerOf(value: unknown): bigint | null {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : null;
  return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : null;
}

/** The value of a pick from its JSON: an integer that a double would round stays text. */
export function pickedValue(json: string): Presented {
  const integer = integerOf(json);
  return integer === null ? (JSON.parse(json) as Presented) : presentInteger(integer);
}
