import type { View } from "../../core/definition/view.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { compareText } from "../../core/measures/order.ts";
import { BUDGET_UNITS, Budget, type BudgetLimits, OverBudget } from "../../core/query/budget.ts";
import { nextWithRows, pieceOf, type RowExtent } from "../../core/query/extents.ts";
import { type Query, readRange } from "../../core/query/query.ts";
import { SessionRuns } from "../../core/query/sessions.ts";
import type { Cell, GroupValue } from "../../core/state/cells.ts";
import { bucketOf } from "../../core/time.ts";
import { inTurns } from "../common/turns.ts";

export interface SessionSource {
  readonly gapMs: number;
  /** The ranges of event time that have any rows. No bucket outside of them has cells. */
  readonly extents: readonly RowExtent[];
  readonly limits: BudgetLimits;
  /** The budget of the whole query; it counts sessions and the work for them. */
  readonly budget: Budget;
  /** Returns the merged cells of a range of buckets. */
  readonly read: (query: Query, range: TimeRange, budget: Budget) => Promise<readonly Cell[]>;
}

/** A piece has about this many stored rows, which are some ten thousand cells. */
const PIECE_ROWS = 250_000;

/** When only the groups of open sessions are read, at most this many values of a dimension are named in the query. */
const MOST_VALUES = 100;

/**
 * Returns the sessions that begin in `window`, as cells. Reads buckets piece by piece, so that only sessions are held.
 * Reads beyond the window only until no session is open any more. Throws OverBudget.
 */
export async function readSessions(
  view: View,
  query: Query,
  window: TimeRange,
  source: SessionSource,
): Promise<readonly Cell[]> {
  const { gapMs, extents, budget } = source;
  const runs = new SessionRuns(view, gapMs, window, budget);
  let stepMs = Math.max(gapMs, view.grainMs);
  let fromMs = nextWithRows(extents, readRange(view, query, window).fromMs);
  while (fromMs !== null) {
    let [toMs, asked] = [window.toMs, query];
    if (fromMs >= window.toMs) {
      const open = runs.openGroups(fromMs);
      if (open.length === 0) break;
      asked = onlyGroups(view, query, open);
      toMs = bucketOf(fromMs + stepMs, view.grainMs) + view.grainMs;
      stepMs *= 2;
    }
    const piece = pieceOf(extents, { fromMs, toMs }, { rows: PIECE_ROWS, grainMs: view.grainMs });
    const reachedMs = await addPiece(view, asked, piece, { ...source, runs });
    fromMs = nextWithRows(extents, reachedMs);
  }
  return runs.sessions();
}

/**
 * Reads a piece. If it is too large, reads its first half, or the first half of that, and so on. Returns where it
 * ended.
 */
async function addPiece(
  view: View,
  query: Query,
  { fromMs, toMs }: TimeRange,
  source: SessionSource & { readonly runs: SessionRuns },
): Promise<EpochMs> {
  const { limits, budget, runs, read } = source;
  try {
    const own = new Budget(limits, budget.left);
    const cells = await read(query, { fromMs, toMs }, own);
    for (const unit of ["rows", "merges"] as const) budget.spend(unit, own.spent(unit));
    await inTurns(runs.add(cells), budget);
    return toMs;
  } catch (error) {
    const middleMs = bucketOf((fromMs + toMs) / 2, view.grainMs);
    const tooWide = error instanceof OverBudget && error.unit !== "merges" && !isSpent(budget, limits);
    if (!tooWide || middleMs <= fromMs) throw error;
    return addPiece(view, query, { fromMs, toMs: middleMs }, source);
  }
}

/** Whether the query as a whole costs too much, and not only the piece. */
function isSpent(budget: Budget, limits: BudgetLimits): boolean {
  return BUDGET_UNITS.some((unit) => budget.spent(unit) > limits[unit]);
}

/** Any fixed order will do: the same values then make the same query, which may be cached. */
function compareAsText(a: GroupValue, b: GroupValue): number {
  return compareText(`${typeof a} ${a}`, `${typeof b} ${b}`);
}

/**
 * Returns the query for these groups and perhaps some more: it names the values of each dimension that has not too
 * many.
 */
function onlyGroups(view: View, query: Query, groups: readonly (readonly GroupValue[])[]): Query {
  const where = new Map(query.where);
  for (const [index, dimension] of Object.keys(view.by).entries()) {
    const values = new Set(groups.map((group) => group[index] ?? null));
    if (values.size <= MOST_VALUES) where.set(dimension, [...values].sort(compareAsText));
  }
  return { ...query, where };
}
