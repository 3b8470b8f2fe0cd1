import { archiveChunk, type ChunkOutcome } from "../batch-layer/archive/archive-chunk.ts";
import {
  type CompactionPlan,
  type Merged,
  mergeEntries,
  planCompaction,
} from "../batch-layer/archive/archive-compact.ts";
import type { ArchiveChunk } from "../batch-layer/archive/archive-plan.ts";
import { type ArchivePlan, planStream } from "../batch-layer/archive/archive-stream.ts";
import { sweepArchive } from "../batch-layer/archive/archive-sweep.ts";
import type { ArchiveMerge } from "../batch-layer/archive/merge-plan.ts";
import type { Watch } from "../batch-layer/stores.ts";
import { type CutJson, cutFromJson, cutToJson } from "../core/log/position.ts";
import { attempt } from "./attempt.ts";
import { type ActivityDeps, streamTarget } from "./deps.ts";

export type ArchivePlanJson = Omit<ArchivePlan, "archived" | "target"> & {
  readonly archived: CutJson;
  readonly target: CutJson;
};

export interface ArchivePlanInput {
  readonly stream: string;
  /** Null: up to the end of committed data. */
  readonly target: CutJson | null;
}

export interface ArchiveChunkInput {
  readonly stream: string;
  readonly topicId: string;
  readonly chunk: ArchiveChunk;
}

/** Archives a chunk, and reports that to metrics and log. */
export async function archiveOne(
  deps: ActivityDeps,
  { stream, topicId, chunk }: ArchiveChunkInput,
  watch: Watch,
): Promise<ChunkOutcome> {
  const { stores, metrics, logger } = deps;
  const outcome = await archiveChunk(stores, { ...streamTarget(deps, stream), topicId }, { chunk }, watch);
  metrics.archived.set({ stream, partition: chunk.partition }, Number(outcome.to));
  if (outcome.won) metrics.archivedRecords.inc({ stream }, outcome.records);
  logger.info({ stream, ...outcome }, outcome.won ? "archived" : "another archiver was first");
  return outcome;
}

export function archiveActivities(deps: ActivityDeps) {
  const { stores, metrics, logger } = deps;
  return {
    planArchive: ({ stream, target }: ArchivePlanInput): Promise<ArchivePlanJson> =>
      attempt(deps, async () => {
        const goal = target === null ? null : cutFromJson(target);
        const plan = await planStream(stores, streamTarget(deps, stream), goal);
        for (const [partition, position] of plan.archived)
          metrics.archived.set({ stream, partition }, Number(position));
        return { ...plan, archived: cutToJson(plan.archived), target: cutToJson(plan.target) };
      }),

    archiveChunk: ({ stream, topicId, chunk }: ArchiveChunkInput): Promise<ChunkOutcome> =>
      attempt(deps, (watch) => archiveOne(deps, { stream, topicId, chunk }, watch)),

    planCompaction: ({ stream }: { stream: string }): Promise<CompactionPlan> =>
      attempt(deps, () => planCompaction(stores, streamTarget(deps, stream))),

    /** Returns null if it has been done already. */
    mergeEntries: ({
      stream,
      topicId,
      merge,
    }: {
      stream: string;
      topicId: string;
      merge: ArchiveMerge;
    }): Promise<Merged | null> =>
      attempt(deps, async (watch) => {
        const merged = await mergeEntries(stores, { ...streamTarget(deps, stream), topicId }, merge, watch);
        if (merged !== null) logger.info({ stream, ...merge, ...merged }, "archive files merged");
        return merged;
      }),

    /**
     * Deletes the files of attempts that were killed, and of entries that were merged some time ago. Returns how many.
     */
    sweepArchive: ({ stream, topicId }: { stream: string; topicId: string }): Promise<number> =>
      attempt(deps, () => sweepArchive(stores, streamTarget(deps, stream), topicId)),
  };
}
