import { finishPublish } from "../batch-layer/refresh/refresh.ts";
import { type Compaction, compact } from "../batch-layer/versions/compact.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, chainOf, shownName, viewTarget } from "./deps.ts";

/** The activities for single versions of a view: the steps after a publish, and compaction. */
export function versionActivities(deps: ActivityDeps) {
  const { stores, metrics, logger } = deps;
  return {
    /** Step 7 of a settlement (docs/internals/settlement.md), after every version. */
    finishPublish: ({ view, version, seconds }: { view: string; version: number; seconds: number }): Promise<void> =>
      attempt(deps, async () => {
        const target = await viewTarget(deps, view);
        const done = await finishPublish(stores, target, chainOf(deps, target), version);
        const label = { view: await shownName(deps, target) };
        metrics.version.set(label, version);
        metrics.refreshedAt.setToCurrentTime(label);
        metrics.refreshSeconds.set(label, seconds);
        logger.info({ ...label, generation: target.generation, version, seconds, ...done }, "published");
      }),

    /** Merges small state files if there are many, and publishes the result; returns null if that is not due. */
    compact: ({ view }: { view: string }): Promise<Compaction | null> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, view);
        const done = await compact(stores, target, { createdBy: thisRun().createdBy }, watch);
        if (done === null) return null;
        await finishPublish(stores, target, chainOf(deps, target), done.version);
        const label = { view: await shownName(deps, target) };
        metrics.version.set(label, done.version);
        logger.info({ ...label, generation: target.generation, ...done }, "small files merged");
        return done;
      }),
  };
}
