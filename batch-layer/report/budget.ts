import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import { type Budget, type BudgetLimits, type BudgetUnit, OverBudget } from "../../core/query/budget.ts";

/**
 * The limits of one report: `rows` are events of the days that it compares, `cells` are groups of a dimension on a day,
 * `merges` and `items` are rows of state. At these limits a report takes some minutes and 300 MB.
 */
export const REPORT_LIMITS: BudgetLimits = {
  rows: 100_000_000,
  cells: 10_000,
  windows: 0,
  merges: 25_000_000,
  items: 4_000_000,
  sketchBytes: 0,
};

/** The part of a report that one view's dimension makes. */
export interface ReportPart {
  readonly view: Pick<View, "name">;
  readonly by: readonly string[];
  readonly measures: readonly string[];
}

/** Runs a part of a report. If its budget is exceeded, throws REPORT_TOO_LARGE, which names what to narrow. */
export async function withinBudget<T>(part: ReportPart, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof OverBudget ? tooLarge(part, error) : error;
  }
}

/** Counts the events that a report reads of one stream. Throws REPORT_TOO_LARGE. */
export function spendEvents(budget: Budget, stream: string, events: number): void {
  try {
    budget.spend("rows", events);
  } catch (error) {
    if (!(error instanceof OverBudget)) throw error;
    throw new TidelineError(
      "REPORT_TOO_LARGE",
      `the days that the report compares have more than ${shown(error.limit)} events of ${stream}`,
      `Split ${stream} into streams of their own, or pause the schedule report-daily.`,
    );
  }
}

const COUNTED: Readonly<Partial<Record<BudgetUnit, string>>> = {
  cells: "groups",
  merges: "rows of state",
  items: "items of quantiles, histograms and top lists",
};

function tooLarge({ view, by, measures }: ReportPart, { unit, limit }: OverBudget): TidelineError {
  const whole = by.length === 0;
  const what = whole ? "its totals" : `its groups by ${by.join(", ")}`;
  const listed = measures.join(", ");
  const narrower = whole
    ? `Leave measures out of view ${view.name} that need much state (${listed}), or give them coarser items.`
    : `Leave the dimension ${by.join(", ")} out of view ${view.name}, or give it fewer values. Without ` +
      `quantiles and distinct counts among its measures (${listed}) groups cost less.`;
  return new TidelineError(
    "REPORT_TOO_LARGE",
    `the report reads view ${view.name}: ${what} have more than ${shown(limit)} ${COUNTED[unit] ?? unit}`,
    narrower,
  );
}

function shown(amount: number): string {
  return amount.toLocaleString("en-US");
}
