import { writeDelta } from "../batch-layer/refresh/delta.ts";
import { LiveStateDiffers } from "../batch-layer/refresh/ledger-check.ts";
import { checkDelta, finishPublish, publishDelta, REPLACED_BETWEEN } from "../batch-layer/refresh/refresh.ts";
import { sealCut } from "../batch-layer/refresh/seal.ts";
import { sendUnreadLetters } from "../batch-layer/refresh/unread-letters.ts";
import { type Compaction, compact } from "../batch-layer/versions/compact.ts";
import { versionPrefix } from "../batch-layer/versions/publish.ts";
import type { StateFile } from "../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER, type Ledger } from "../core/log/ledger.ts";
import { type CutJson, cutFromJson, cutToJson } from "../core/log/position.ts";
import { beginGeneration } from "../store/archive/generation-start.ts";
import { attempt, thisRun } from "./attempt.ts";
import { type ActivityDeps, chainOf, shownName, viewTarget } from "./deps.ts";
import { differing } from "./live-difference.ts";

/** The version that a refresh builds on: V with its cut C. */
export interface RefreshBase {
  /**
   * The generation that was the view's when the run began; its steps go on with this one, whatever is served meanwhile.
   */
  readonly generation: string;
  /** Of the installation: a run that somebody started by hand learns it here. */
  readonly namespace: string;
  readonly stream: string;
  readonly version: number;
  readonly cut: CutJson;
  readonly topicId: string;
  /** Another release computes this generation otherwise: nothing is to be done. */
  readonly frozen?: true;
}

/** The next cut B, and what gave it: the speed layer, the end of the log, or the end of the archive. */
export interface SealedCut {
  readonly cut: CutJson;
  readonly by: "speed" | "log" | "archive";
}

/** The states of [C, B): written and checked, but not published. */
export interface DeltaWritten {
  readonly to: CutJson;
  readonly file: StateFile | null;
  readonly ledger: Ledger;
  /** Whether the speed layer's ledger was there to compare with. */
  readonly compared: boolean;
}

/** The newest version of a generation that this release does not continue; null when it does. */
async function frozenBase(
  { generations, definitions, namespace, stores }: ActivityDeps,
  name: string,
): Promise<RefreshBase | null> {
  const { view, generation, frozen } = await generations.find(name, definitions);
  if (!frozen) return null;
  const { version = 0, cut = {}, topicId = "" } = (await stores.manifests.newest(generation)) ?? {};
  return { generation, namespace, stream: view.stream.name, version, cut, topicId, frozen };
}

export function refreshActivities(deps: ActivityDeps) {
  const { stores, metrics, logger } = deps;
  return {
    /** Step 1; makes version 0 when there is none. */
    beginRefresh: ({ view }: { view: string }): Promise<RefreshBase> =>
      attempt(deps, async () => {
        const frozen = await frozenBase(deps, view);
        if (frozen !== null) return frozen;
        const target = await viewTarget(deps, view);
        const { version, cut, topicId } = await beginGeneration(
          stores,
          target.generation,
          target.topic,
          thisRun().createdBy,
        );
        return {
          generation: target.generation,
          namespace: deps.namespace,
          stream: target.stream.name,
          version,
          cut,
          topicId,
        };
      }),

    /** Step 2; null when there is nothing to publish. */
    sealCut: ({ generation, version, cut }: RefreshBase): Promise<SealedCut | null> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, generation);
        const sealed = await sealCut(stores, target, chainOf(deps, target), { version, cut: cutFromJson(cut) }, watch);
        return sealed === null ? null : { cut: cutToJson(sealed.cut), by: sealed.by };
      }),

    /** Steps 4 and 5. */
    writeDelta: ({ base, to }: { base: RefreshBase; to: CutJson }): Promise<DeltaWritten> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, base.generation);
        const span = { topicId: base.topicId, from: cutFromJson(base.cut), to: cutFromJson(to) };
        const folder = stores.manifests.stateFolder(target.generation);
        const delta = await writeDelta(
          stores,
          target,
          span,
          folder,
          versionPrefix(base.version + REPLACED_BETWEEN),
          watch,
        );
        try {
          const compared = await checkDelta(stores, target, chainOf(deps, target), { ...span, ...delta });
          if (!compared) await sendUnreadLetters(stores, deps.deadLetters, target, span, watch);
          return {
            to,
            file: delta.file,
            ledger: [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER),
            compared,
          };
        } catch (error) {
          if (delta.file !== null) await stores.data.remove(delta.file.file);
          throw error instanceof LiveStateDiffers
            ? await differing(deps, target, { version: base.version, to: span.to }, error)
            : error;
        }
      }),

    /** Step 6, and step 7 of the version that has the delta; false when another writer was first. */
    publishDelta: ({ base, delta }: { base: RefreshBase; delta: DeltaWritten }): Promise<boolean> =>
      attempt(deps, async () => {
        const { file, ledger } = delta;
        const publication = {
          version: base.version,
          from: cutFromJson(base.cut),
          to: cutFromJson(delta.to),
          file,
          ledger,
          createdBy: thisRun().createdBy,
        };
        const target = await viewTarget(deps, base.generation);
        const version = await publishDelta(stores, target, publication);
        // A merge may have taken the number that the run counts on.
        if (version !== null) await finishPublish(stores, target, chainOf(deps, target), version);
        return version !== null;
      }),

    /** Step 7, after every version. */
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

    /** Merges small state files when there are many, and publishes that; null when that is not due. */
    compact: ({ view }: { view: string }): Promise<Compaction | null> =>
      attempt(deps, async (watch) => {
        const target = await viewTarget(deps, view);
        const done = await compact(stores, target, thisRun().createdBy, watch);
        if (done === null) return null;
        await finishPublish(stores, target, chainOf(deps, target), done.version);
        const label = { view: await shownName(deps, target) };
        metrics.version.set(label, done.version);
        logger.info({ ...label, generation: target.generation, ...done }, "small files merged");
        return done;
      }),
  };
}
