import { type DifferingSpan, healLive } from "../batch-layer/refresh/heal-live.ts";
import type { LiveStateDiffers } from "../batch-layer/refresh/ledger-check.ts";
import type { ViewTarget } from "../batch-layer/stores.ts";
import { type ActivityDeps, chainOf, shownName } from "./deps.ts";

/**
 * Returns the error of a settlement whose span the speed layer counted differently. The third time in a row, the live
 * state has been dropped.
 */
export async function differing(
  deps: ActivityDeps,
  target: ViewTarget,
  { version, to }: DifferingSpan,
  found: LiveStateDiffers,
): Promise<Error> {
  const span = { version, to, found, nowMs: Date.now() };
  const { error, dropped } = await healLive(deps.stores, target, chainOf(deps, target), span);
  if (dropped) {
    const view = await shownName(deps, target);
    deps.metrics.liveResets.inc({ view });
    deps.logger.error({ view, generation: target.generation, version }, error.message);
  }
  return error;
}
