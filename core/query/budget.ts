import { TidelineError } from "../errors.ts";

/**
 * The limits of the work for one query. All are numbers of things, none is a time: the same query over the same state
 * is always answered or always refused, however busy the server is.
 */
export interface BudgetLimits {
  /**
   * Rows of files within the range that is read: state rows of batch versions, archived records, records that are
   * decoded again.
   */
  readonly rows: number;
  /** Cells held in memory at once, before rows are sorted and limited. */
  readonly cells: number;
  /** Sliding windows, before rows are sorted and limited. The buckets that they consist of count as cells. */
  readonly windows: number;
  /** Merges: each of one value, one item or sixteen registers of a sketch. */
  readonly merges: number;
  /** Items of quantiles, histograms and top lists: those held in memory at once, and those in rows. */
  readonly items: number;
  /** Memory for the registers of distinct counts, bytes. */
  readonly sketchBytes: number;
}

export type BudgetUnit = keyof BudgetLimits;

/** The limits of one answer. At these limits it takes about 200 MB and ten seconds of one core. */
export const ANSWER_LIMITS: BudgetLimits = {
  rows: 1_000_000_000,
  cells: 200_000,
  windows: 200_000,
  merges: 25_000_000,
  items: 4_000_000,
  sketchBytes: 128 * 1024 * 1024,
};

/**
 * The limits of an answer that the server computes on its own event loop: about half a second of one core. The helper
 * process computes larger ones. Rows do not load the event loop, because DuckDB adds them up on threads of its own.
 */
export const SMALL_ANSWER_LIMITS: BudgetLimits = {
  rows: 10_000_000,
  cells: 12_500,
  windows: 12_500,
  merges: 1_000_000,
  items: 125_000,
  sketchBytes: 4 * 1024 * 1024,
};

/** The number of registers that are merged in the time of one value. */
export const REGISTERS_A_MERGE = 16;

const SHOWN: Readonly<Record<BudgetUnit, (amount: string) => string>> = {
  rows: (amount) => `${amount} stored rows would be read`,
  cells: (amount) => `the answer would have ${amount} cells`,
  windows: (amount) => `the answer would have ${amount} sliding windows`,
  merges: (amount) => `${amount} merges would be needed`,
  items: (amount) => `${amount} items of quantiles, histograms and top lists would be held`,
  sketchBytes: (amount) => `${amount} bytes of distinct counts would be held`,
};

/** The parameters to change, by unit. */
const NARROWER: Readonly<Record<BudgetUnit, string>> = {
  rows: "a narrower from and to",
  cells: "a narrower from and to, a coarser every, fewer dimensions in by, or where[dimension]",
  windows: "a narrower from and to, a coarser every, fewer dimensions in by, or where[dimension]",
  merges: "a narrower from and to, a shorter window, a coarser every, fewer dimensions in by, or fewer measures",
  items: "measures without quantile, histogram and topK, a smaller limit, a narrower from and to, or a coarser every",
  sketchBytes: "measures without distinct, a narrower from and to, or a coarser every",
};

/** The parameters of a table to change. */
const NARROWER_TABLE = "key, a prefix, a smaller limit, fewer columns, or the order of the key";

/** TOO_LARGE: a query exceeds its budget. `needed` is the amount, null if it is only known to exceed the limit. */
export class OverBudget extends TidelineError {
  override readonly name = "OverBudget";
  readonly unit: BudgetUnit;
  readonly limit: number;

  constructor(unit: BudgetUnit, limit: number, needed: number | null) {
    const most = `at most ${grouped(limit)} for one question`;
    const factor = needed === null ? "" : `: ask for ${Math.ceil((needed * 10) / limit) / 10} times less`;
    const cost = SHOWN[unit](needed === null ? `more than ${grouped(limit)}` : grouped(needed));
    const problem = `${cost}; ${most}${factor}`;
    const allowed = NARROWER[unit];
    super("TOO_LARGE", problem, allowed, { parameters: [{ parameter: "every", problem, allowed }] });
    this.unit = unit;
    this.limit = limit;
  }

  /** Returns the same error for a table, with a table's parameters. */
  ofTable(): TidelineError {
    const parameters = [{ parameter: "limit", problem: this.message, allowed: NARROWER_TABLE }];
    return new TidelineError(this.code, this.message, NARROWER_TABLE, { parameters });
  }
}

function grouped(amount: number): string {
  return Math.ceil(amount).toLocaleString("en-US");
}

/** The cost of some work, by unit. */
export type Spending = Readonly<Record<BudgetUnit, number>>;

export const BUDGET_UNITS: readonly BudgetUnit[] = ["rows", "cells", "windows", "merges", "items", "sketchBytes"];

/** Counts the cost of one query, and knows whether its answer is still wanted. */
export class Budget {
  readonly #limits: BudgetLimits;
  /** Aborted when nobody waits for the answer any more. Null for an answer that is wanted in any case. */
  readonly left: AbortSignal | null;
  readonly #spent: Record<BudgetUnit, number> = {
    rows: 0,
    cells: 0,
    windows: 0,
    merges: 0,
    items: 0,
    sketchBytes: 0,
  };

  constructor(limits: BudgetLimits, left: AbortSignal | null = null) {
    this.#limits = limits;
    this.left = left;
  }

  /** Throws the reason of `left` once it is aborted. Call it from time to time, not for every merge. */
  requireWanted(): void {
    if (this.left?.aborted === true) throw this.left.reason;
  }

  /** Returns a budget without limits. */
  static unlimited(left: AbortSignal | null = null): Budget {
    const limit = Number.POSITIVE_INFINITY;
    return new Budget(
      { rows: limit, cells: limit, windows: limit, merges: limit, items: limit, sketchBytes: limit },
      left,
    );
  }

  spent(unit: BudgetUnit): number {
    return this.#spent[unit];
  }

  /** Returns the amounts spent so far, for `charge`. */
  spending(): Spending {
    return { ...this.#spent };
  }

  /** Counts the earlier cost of something that is used again. Throws OverBudget. */
  charge(spending: Spending): void {
    for (const unit of BUDGET_UNITS) this.spend(unit, spending[unit]);
  }

  /** Counts `amount` more; a negative amount gives memory back. Throws OverBudget. */
  spend(unit: BudgetUnit, amount: number): void {
    this.#spent[unit] += amount;
    if (this.#spent[unit] > this.#limits[unit]) throw new OverBudget(unit, this.#limits[unit], null);
  }

  /** Throws OverBudget with the needed amount if `amount` more would not fit. Counts nothing. */
  require(unit: BudgetUnit, amount: number): void {
    const needed = this.#spent[unit] + amount;
    if (needed > this.#limits[unit]) throw new OverBudget(unit, this.#limits[unit], needed);
  }
}
