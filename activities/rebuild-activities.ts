import {
  type BuiltPart,
  clearRebuilds,
  finishRebuild,
  type PinnedVersion,
  pinVersion,
  planParts,
  type RebuildResult,
  rebuildPart,
} from "../batch-layer/recompute/rebuild.ts";
import type { RebuildPart } from "../batch-layer/recompute/rebuild-plan.ts";
import { type CutJson, cutFromJson, cutToJson } from "../core/log/position.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, viewTarget } from "./deps.ts";

export type PinnedVersionJson = Omit<PinnedVersion, "start" | "cut"> & {
  readonly start: CutJson;
  readonly cut: CutJson;
};

export type RebuildResultJson = Omit<RebuildResult, "cut"> & { readonly cut: CutJson };

export interface RebuildPlan {
  /** The generation that the view's name meant when the run began. */
  readonly generation: string;
  readonly pinned: PinnedVersionJson;
  readonly parts: readonly RebuildPart[];
}

export function rebuildActivities(deps: ActivityDeps) {
  const { stores } = deps;
  return {
    /** Returns the newest version with the hash of its state, and the archive up to its cut in parts. */
    planRebuild: ({ view }: { view: string }): Promise<RebuildPlan> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, view);
        const pinned = await pinVersion(stores, target, watch);
        const { start, cut } = pinned;
        return {
          generation: target.generation,
          pinned: { ...pinned, start: cutToJson(start), cut: cutToJson(cut) },
          parts: await planParts(stores, target, pinned),
        };
      }),

    rebuildPart: ({ view, topicId, part }: { view: string; topicId: string; part: RebuildPart }): Promise<BuiltPart> =>
      attempt(deps, async (watch) =>
        rebuildPart(stores, await viewTarget(deps, view), { topicId, part, run: thisRun().run }, watch),
      ),

    finishRebuild: ({
      view,
      pinned,
      parts,
    }: {
      view: string;
      pinned: PinnedVersionJson;
      parts: readonly BuiltPart[];
    }): Promise<RebuildResultJson> =>
      attempt(deps, async (watch) => {
        const version = { ...pinned, start: cutFromJson(pinned.start), cut: cutFromJson(pinned.cut) };
        const target = await viewTarget(deps, view);
        const result = await finishRebuild(stores, target, { pinned: version, parts, ...thisRun() }, watch);
        return { ...result, cut: cutToJson(result.cut) };
      }),

    clearRebuilds: ({ view }: { view: string }): Promise<void> =>
      attempt(deps, async () => clearRebuilds(stores, (await viewTarget(deps, view)).generation)),
  };
}
