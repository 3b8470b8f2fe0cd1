import { z } from "zod";
import { compareGenerations } from "../batch-layer/recompute/compare.ts";
import { type FirstVersion, planFirstVersion, publishFirstVersion } from "../batch-layer/recompute/first-version.ts";
import type { BuiltPart } from "../batch-layer/recompute/rebuild.ts";
import { isTidelineError } from "../core/errors.ts";
import { Comparison, type ComparisonJson } from "../core/log/documents.ts";
import { type Cut, type CutJson, cutFromJson, cutReached, cutToJson } from "../core/log/position.ts";
import { beginGeneration } from "../store/archive/generation-start.ts";
import { tilesOf } from "../store/redis/chain-state.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, chainOf, viewTarget } from "./deps.ts";

export type FirstVersionJson = Omit<FirstVersion, "cut"> & { readonly cut: CutJson };

export interface Adoption {
  /** The installation's namespace. */
  readonly namespace: string;
  readonly served: string;
  readonly next: string;
  readonly stream: string;
  /** Somebody has moved the view back from `next`: it is kept ready, but not served. */
  readonly held: boolean;
  /** This release cannot continue the served generation: it does not grow, and is not compared. */
  readonly frozen?: boolean;
}

/** The generation that a view moves from, and the one it moves to. */
interface Move {
  readonly view: string;
  readonly served: string;
  readonly next: string;
}

export function generationActivities(deps: ActivityDeps) {
  const { stores, generations, keepGenerationsMs } = deps;
  return {
    /** Returns the adoption to do; null if the view is served as its file says. */
    planAdoption: ({ view }: { view: string }): Promise<Adoption | null> =>
      attempt(deps, () => planAdoption(deps, view)),

    planFirstVersion: ({ generation }: { generation: string }): Promise<FirstVersionJson | null> =>
      attempt(deps, async () => {
        const first = await planFirstVersion(stores, await viewTarget(deps, generation));
        return first === null ? null : { ...first, cut: cutToJson(first.cut) };
      }),

    /** Publishes version 1; returns false if another writer was first. */
    publishFirstVersion: (input: {
      generation: string;
      first: FirstVersionJson;
      parts: readonly BuiltPart[];
    }): Promise<boolean> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, input.generation);
        const first = { ...input.first, cut: cutFromJson(input.first.cut) };
        const { createdBy } = thisRun();
        return publishFirstVersion(stores, target, { first, built: input.parts, createdBy }, watch);
      }),

    /** Whether the next generation's answers are as fresh as those of the served one. */
    hasCaughtUp: ({ served, next }: { served: string; next: string }): Promise<boolean> =>
      attempt(deps, () => hasCaughtUp(deps, served, next)),

    /**
     * Compares two generations at one cut, and stores the result for `tideline views compare`. Returns null if that is
     * not possible at this moment.
     */
    compareGenerations: ({ served, next }: { served: string; next: string }): Promise<ComparisonJson | null> =>
      attempt(deps, async (watch) => {
        const both = { served: await viewTarget(deps, served), next: await viewTarget(deps, next) };
        const comparison = await compareGenerations(stores, both, thisRun().run, watch);
        if (comparison === null) return null;
        await generations.saveComparison(comparison);
        return z.encode(Comparison, comparison);
      }),

    /** Serves `next` in place of `served`; returns false if another generation is served by now. */
    moveView: (input: Move): Promise<boolean> => attempt(deps, () => moveView(deps, input)),

    /** Retires generations that are not needed any more, and deletes those that were retired some time ago. */
    retireGenerations: (): Promise<{ retired: string[]; deleted: string[] }> =>
      attempt(deps, () => retireGenerations(deps, keepGenerationsMs, Date.now())),
  };
}

/** Finds the next generation of a view, and creates its version 0 if it has none. */
async function planAdoption(deps: ActivityDeps, view: string): Promise<Adoption | null> {
  const { stores, generations, definitions, namespace } = deps;
  const living = await generations.living(view, definitions.views.get(view) ?? null);
  const record = await generations.record(view);
  const next = living.find(({ part }) => part === "next")?.definition;
  if (next === undefined || record === null) return null;
  const target = await viewTarget(deps, next.generation);
  await beginGeneration(stores, target.generation, target.topic, thisRun().createdBy);
  const held = record.held !== null && (await generations.isSame(record.held.over, next));
  return {
    namespace,
    served: record.generation,
    next: next.generation,
    stream: target.stream.name,
    held,
    frozen: !(await generations.follows(record.generation)),
  };
}

/** Whether the tiles of `next` reach the positions of `served`. */
async function hasCaughtUp(deps: ActivityDeps, served: string, next: string): Promise<boolean> {
  const fresh = await viewTarget(deps, next);
  const reached = await servedUpTo(deps, served);
  const manifest = await deps.stores.manifests.newest(next);
  const chain = await chainOf(deps, fresh).load();
  if (reached === null || manifest === null || chain === null) return false;
  const run = tilesOf(manifest.cut, chain);
  return run.ok && cutReached(run.to, reached);
}

/** Does not move to a generation that somebody moved the view back from. */
async function moveView(deps: ActivityDeps, { view, served, next }: Move): Promise<boolean> {
  const { generations, logger } = deps;
  const record = await generations.record(view);
  if (record?.generation === next) return true;
  if (record?.generation !== served) return false;
  const { view: definition } = await viewTarget(deps, next);
  const over = record.held?.over;
  if (over !== undefined && (await generations.isSame(over, { view: definition, generation: next }))) return false;
  const moved = await generations.move(record, next, { held: null, by: thisRun().createdBy });
  if (moved) logger.info({ view, served: next, before: served }, "another generation is served");
  return moved;
}

/** Returns the positions up to which the served generation answers; null if they are not known at the moment. */
async function servedUpTo(deps: ActivityDeps, served: string): Promise<Cut | null> {
  const { generations, stores } = deps;
  if (await generations.follows(served))
    return (await chainOf(deps, await viewTarget(deps, served)).load())?.applied ?? null;
  const newest = await stores.manifests.newest(served);
  return newest?.cut ?? new Map();
}

/** How long processes have to notice that a generation is retired, before its state is deleted. */
const NOTICE_MS = 600_000;

async function retireGenerations(
  deps: ActivityDeps,
  keepMs: number,
  nowMs: number,
): Promise<{ retired: string[]; deleted: string[] }> {
  const { generations, logger } = deps;
  const [retired, deleted]: [string[], string[]] = [[], []];
  let damage: unknown = null;
  for (const view of await generations.views()) {
    try {
      const gone = await retireOf(deps, view, keepMs, nowMs);
      retired.push(...gone.retired);
      deleted.push(...gone.deleted);
    } catch (error) {
      if (!isTidelineError(error, "ARCHIVE_DAMAGED")) throw error;
      damage ??= error;
    }
  }
  if (retired.length + deleted.length > 0) logger.info({ retired, deleted }, "generations retired");
  // A document that cannot be read fails the run, but only after the other views are done.
  if (damage !== null) throw damage;
  return { retired, deleted };
}

/** Retires and deletes generations of one view. Throws ARCHIVE_DAMAGED when one of its documents cannot be read. */
async function retireOf(
  deps: ActivityDeps,
  view: string,
  keepMs: number,
  nowMs: number,
): Promise<{ retired: string[]; deleted: string[] }> {
  const { generations, definitions } = deps;
  const [retired, deleted]: [string[], string[]] = [[], []];
  const file = definitions.views.get(view) ?? null;
  const records = await generations.records(view);
  const lastServedMs = (generation: string) => {
    const index = records.findLastIndex((record) => record.generation === generation);
    return index < 0 ? null : (records[index + 1]?.atMs ?? null);
  };
  // An abandoned generation was built for a definition that changed again before it was served. A young one is not
  // abandoned: another worker's files may name it.
  const isAbandoned = async (generation: string) => {
    if (generation === file?.generation || records.some((record) => record.generation === generation)) return false;
    const begun = await deps.stores.manifests.version(generation, 0);
    return begun !== null && nowMs - begun.createdAtMs >= keepMs;
  };
  let missingMs: number | null = null;
  if (file === null) missingMs = await generations.missingSince(view, nowMs);
  else await generations.found(view);
  for (const [generation, part] of await generations.parts(view, file)) {
    const sinceMs = part === "kept" ? (lastServedMs(generation) ?? missingMs) : missingMs;
    if (sinceMs === null || nowMs - sinceMs < keepMs) continue;
    await generations.retire(generation, nowMs);
    retired.push(generation);
  }
  for (const generation of await generations.stored(view)) {
    const retiredAtMs = await generations.retiredAtMs(generation);
    if (retiredAtMs === null && (await isAbandoned(generation))) {
      await generations.retire(generation, nowMs);
      retired.push(generation);
    }
    if (retiredAtMs === null || nowMs - retiredAtMs < NOTICE_MS) continue;
    await chainOf(deps, { generation }).drop();
    await generations.remove(generation);
    deleted.push(generation);
  }
  if (missingMs !== null && nowMs - missingMs >= keepMs && (await generations.stored(view)).length === 0)
    await generations.forget(view);
  return { retired, deleted };
}
