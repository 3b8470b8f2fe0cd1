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
  /** The builder that holds the live cells of the answer already. */
  readonly builder: AnswerBuilder;
}

/** Cells are cached for repeated queries if there are at most this many. */
const MOST_KEPT = 2_000;

/**
 * Returns cells that include the first `order.limit` cells of the whole answer, and one more if there are more, without
 * holding all cells. A cell without live state has the same values in the answer as in the batch version. So of those,
 * the first ones of the batch version are enough. Every cell with live state is a candidate, whatever its values in the
 * batch version are. Throws OverBudget.
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
  // Live cells vary, and a later page is asked for only once. Other queries ask for the same places again.
  const isKept = live.length === 0 && order.after === undefined && candidates.length <= MOST_KEPT;
  const tiles = await batch.among(manifest, plan, candidates, { isKept, asker: budget.left });
  await inTurns(builder.addRolledUp(tiles), budget);
  return builder.table.cells();
}
