import type { Registers } from "../hll.ts";
import type { Sql } from "../sql.ts";

/** How two states of a component become one. All three are commutative and associative to the bit. */
export type Merge = "sum" | "min" | "max";

/** The merges, on 64-bit integers. */
export const MERGE: Readonly<Record<Merge, (a: bigint, b: bigint) => bigint>> = {
  sum: (a, b) => a + b,
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),
};

/**
 * One mergeable integer per cell ("integer"), or the 16,384 registers of a HyperLogLog ("registers", merged by max).
 * `partial` is SQL over decoded events: for an integer an aggregate that yields BIGINT or NULL, for registers the UBIGINT hash of one
 * event's value.
 */
export interface Component {
  readonly name: string;
  readonly form: "integer" | "registers";
  readonly merge: Merge;
  readonly partial: string;
  /** For registers, SQL that says whether an event has a value: cheaper than hashing it to see. */
  readonly given?: string;
}

/** How many events a cell counts. Every view keeps it under this one name: it says which groups exist. */
export const ROWS: Component = { name: "rows", form: "integer", merge: "sum", partial: "count(*)" };

/** The state of one cell as a measure sees it when it is presented. */
export interface CellState {
  integer(component: string): bigint | undefined;
  registers(component: string): Registers | undefined;
}

/** Integers beyond 2^53-1 are presented as decimal text, because JSON readers would round them. */
export type Presented = number | string | boolean | null;

/** What an answer says about a field: whether the number is exact, and if not how far off it is. */
export interface Accuracy {
  readonly exact: boolean;
  /** Relative standard error; 0 when exact. */
  readonly error: number;
  readonly note: string;
}

export const EXACT: Accuracy = { exact: true, error: 0, note: "exact" };

/** A mergeable aggregate. Each kind is one file that owns all of its renderings. */
export interface Measure {
  readonly kind: string;
  readonly unit: string;
  readonly accuracy: Accuracy;
  /** What it reads, and whether that has to be an integer: checked against the stream's columns at start-up. */
  readonly inputs: readonly { readonly sql: Sql; readonly type: "integer" | "any" }[];
  readonly components: readonly Component[];
  readonly present: (state: CellState) => Presented;
}

/** A 64-bit integer for JSON: a number while that is exact, else text. */
export function presentInteger(value: bigint | undefined): Presented {
  if (value === undefined) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}
