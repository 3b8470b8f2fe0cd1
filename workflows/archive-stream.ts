import { continueAsNew, proxyActivities, setCurrentDetails, workflowInfo } from "@temporalio/workflow";
import type { Activities, ArchiveChunk } from "../activities/activities.ts";
import type { CutJson } from "../core/log/position.ts";
import { inParallel } from "./shared/parallel.ts";
import { label, runStartedMs, STEP, secondsSince } from "./shared/run.ts";

export interface ArchiveStreamInput {
  readonly stream: string;
  /** The positions to stop at; absent: the end of committed data when the run begins. */
  readonly target?: CutJson;
  /** The result of earlier parts of this run: set when it continues as new. */
  readonly done?: ArchiveStreamResult;
}

export interface ArchiveStreamResult {
  readonly records: number;
  readonly chunks: number;
}

const PARTITIONS_AT_ONCE = 2;
const { planArchive, archiveChunk, sweepArchive } = proxyActivities<Activities>(STEP);

/** Archives a stream, one chunk an activity, partitions in parallel, until the archive has reached the target. */
export async function archiveStream({ stream, target, done }: ArchiveStreamInput): Promise<ArchiveStreamResult> {
  label({ kind: "archive", stream });
  let { records, chunks } = done ?? { records: 0, chunks: 0 };
  let goal = target ?? null;
  for (;;) {
    const plan = await planArchive.executeWithOptions({ summary: `what is left of ${stream}` }, [
      { stream, target: goal },
    ]);
    goal = plan.target;
    const tell = () =>
      setCurrentDetails(
        `${stream} to ${shown(plan.target)}: ${records} records in ${chunks} files, ${secondsSince(runStartedMs())} s`,
      );
    tell();
    if (plan.chunks.length === 0) {
      if (chunks > 0)
        await sweepArchive.executeWithOptions({ summary: "files of killed attempts" }, [
          { stream, topicId: plan.topicId },
        ]);
      return { records, chunks };
    }
    await inParallel(PARTITIONS_AT_ONCE, byPartition(plan.chunks), async (partition) => {
      for (const chunk of partition) {
        const outcome = await archiveChunk.executeWithOptions(
          { summary: `${stream}/${chunk.partition} [${chunk.from}, ${chunk.to})` },
          [{ stream, topicId: plan.topicId, chunk }],
        );
        records += outcome.records;
        if (outcome.won) chunks += 1;
        tell();
        // The chunk ended early, or another archiver was first: the rest has to be planned again.
        if (outcome.to !== chunk.to) return;
      }
    });
    if (workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof archiveStream>({ stream, target: goal, done: { records, chunks } });
  }
}

function byPartition(chunks: readonly ArchiveChunk[]): ArchiveChunk[][] {
  const partitions = new Map<number, ArchiveChunk[]>();
  for (const chunk of chunks) partitions.set(chunk.partition, [...(partitions.get(chunk.partition) ?? []), chunk]);
  return [...partitions.values()];
}

function shown(cut: CutJson): string {
  return Object.entries(cut)
    .map(([partition, position]) => `${partition}:${position}`)
    .join(" ");
}
