import type { Manifest } from "../../../core/log/documents.ts";
import type { Budget, BudgetLimits } from "../../../core/query/budget.ts";
import type { TopOrder } from "../../../core/query/top-order.ts";
import { type Cell, placeKey } from "../../../core/state/cells.ts";
import { inTurns } from "../../common/turns.ts";
import type { AnswerBuilder } from "../cells/tile-cells.ts";
import type { BatchPlan, CellPlace } from "./batch-sql.ts";
import type { BatchStates } from "./batch-states.ts";

export interface TopSource {
  readonly batch: BatchStates;
  readonly manifest: Manifest;
  readonly plan: BatchPlan;
  readonly limits: BudgetLimits;
  readonly budget: Budget;
  /** Holds the live cells of the answer already. */
  readonly builder: AnswerBuilder;
}

/** The cells of at most N places are kept for the same question. */
const MOST_KEPT = 2_000;

/**
 * Cells among which the first `order.limit` of the whole answer are, and one more if there are more: without holding
 * all of them. A cell that has no live state stands in the answer as the batch version has it, so of those the batch
 * version's first ones are enough; every cell that has live state is a candidate, whatever the batch version says of
 * it. Throws OverBudget.
 */
export async function topCells(order: TopOrder, source: TopSource): Promise<readonly Cell[]> {
  const { batch, manifest, plan, limits, budget, builder } = source;
  const live = builder.table.cells();
  const wanted = order.limit + 1;
  budget.require("cells", Math.min(wanted, limits.cells));
  const { places, rows } = await batch.top(manifest, plan, order, {
    most: wanted + live.length,
    asker: budget.left,
  });
  budget.spend("rows", rows);
  const isLive = new Set(live.map(({ bucket, key }) => placeKey(bucket, key)));
  const stored = places.filter(({ bucket, key }) => !isLive.has(placeKey(bucket, key))).slice(0, wanted);
  const candidates: CellPlace[] = [...live.map(({ bucket, group, key }) => ({ bucket, group, key })), ...stored];
  // Live cells come and go, and a page is asked for once. Otherwise the same places are asked for again.
  const isKept = live.length === 0 && order.after === undefined && candidates.length <= MOST_KEPT;
  const tiles = await batch.among(manifest, plan, candidates, { isKept, asker: budget.left });
  await inTurns(builder.addRolledUp(tiles), budget);
  return builder.table.cells();
}
