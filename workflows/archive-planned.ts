import { proxyActivities } from "@temporalio/workflow";
import type { Activities, ArchiveChunk, SettlementPlan } from "../activities/activities.ts";
import { archiveTo } from "./archive-to.ts";
import { inParallel } from "./shared/parallel.ts";
import { STEP } from "./shared/run.ts";

const PARALLEL_ARCHIVES = 2;
/** More chunks than these are archived by a run of their own, which may take as long as it needs. */
const MOST_CHUNKS = 60;
/** One activity archives chunks until they cover this many offsets. */
const ACTIVITY_OFFSETS = 200_000n;
const { planArchive, archiveChunks } = proxyActivities<Activities>(STEP);

/**
 * Archives what a settlement has planned; returns when the archive has reached its target. Returns how many records
 * this run archived. For a long span that is 0: another run archives it, and has the number in its result.
 */
export async function archivePlanned(stream: string, plan: SettlementPlan): Promise<number> {
  if (plan.chunks.length <= MOST_CHUNKS) return archiveHere(stream, plan);
  await archiveTo(stream, plan.namespace, plan.target);
  return 0;
}

async function archiveHere(stream: string, { topicId, target, chunks }: SettlementPlan): Promise<number> {
  let records = 0;
  let left = chunks;
  while (left.length > 0) {
    const parts = grouped(left);
    const outcomes = await inParallel(PARALLEL_ARCHIVES, parts, (part) =>
      archiveChunks.executeWithOptions({ summary: `${stream} ${part.map(shownChunk).join(" ")}`.slice(0, 200) }, [
        { stream, topicId, chunks: part },
      ]),
    );
    records += outcomes.reduce((sum, outcome) => sum + outcome.records, 0);
    // All chunks were archived, and the plan was not cut short: nothing is left.
    if (outcomes.every(({ complete }) => complete) && reaches(left, target)) break;
    left = (await planArchive.executeWithOptions({ summary: `what is left of ${stream}` }, [{ stream, target }]))
      .chunks;
  }
  return records;
}

/** Whether the chunks of each of their partitions reach the target. */
function reaches(chunks: readonly ArchiveChunk[], target: Readonly<Record<string, string>>): boolean {
  const ends = new Map(chunks.map(({ partition, to }) => [partition, to]));
  return [...ends].every(([partition, to]) => target[partition] === to);
}

/** Groups chunks by activity. The chunks of a partition stay in order and in one group. */
function grouped(chunks: readonly ArchiveChunk[]): ArchiveChunk[][] {
  const partitions = new Map<number, ArchiveChunk[]>();
  for (const chunk of chunks) partitions.set(chunk.partition, [...(partitions.get(chunk.partition) ?? []), chunk]);
  const groups: ArchiveChunk[][] = [];
  let [group, offsets]: [ArchiveChunk[], bigint] = [[], 0n];
  for (const part of partitions.values()) {
    const size = part.reduce((sum, { from, to }) => sum + BigInt(to) - BigInt(from), 0n);
    if (group.length > 0 && offsets + size > ACTIVITY_OFFSETS) {
      groups.push(group);
      [group, offsets] = [[], 0n];
    }
    group.push(...part);
    offsets += size;
  }
  return group.length === 0 ? groups : [...groups, group];
}

function shownChunk({ partition, from, to }: ArchiveChunk): string {
  return `${partition} [${from}, ${to})`;
}
