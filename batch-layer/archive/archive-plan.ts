import { at, type Cut, partitionsOf } from "../../core/log/position.ts";
import { logLost, logTruncated } from "../../store/kafka/cluster/log-errors.ts";

/** A span of one partition that becomes one archive file. Positions are text, because a plan travels as JSON. */
export interface ArchiveChunk {
  readonly partition: number;
  readonly from: string;
  readonly to: string;
}

export interface ArchiveSituation {
  readonly topic: string;
  /** The end of the archive; for a partition without entries, where its archive will begin. */
  readonly archived: Cut;
  readonly logStart: Cut;
  /** The end of committed data. */
  readonly stable: Cut;
  readonly target: Cut;
}

export interface PlanLimits {
  readonly chunkOffsets: number;
  /**
   * The most chunks in a plan, because a plan is stored in a workflow's history. The rest is planned when these are
   * done.
   */
  readonly chunks: number;
}

export const PLAN_LIMITS: PlanLimits = { chunkOffsets: 200_000, chunks: 400 };

/**
 * Returns what has to be archived up to the target, one partition after the other, each in the order of its log. Throws
 * LOG_LOST when the log no longer has the position at which a partition's archive ends, LOG_TRUNCATED when the log ends
 * before the target.
 */
export function planArchive(situation: ArchiveSituation, limits: PlanLimits = PLAN_LIMITS): ArchiveChunk[] {
  return partitionsOf(situation.target)
    .flatMap((partition) => planPartition(situation, partition, limits))
    .slice(0, limits.chunks);
}

function planPartition(
  { topic, archived, logStart, stable, target }: ArchiveSituation,
  partition: number,
  limits: PlanLimits,
): ArchiveChunk[] {
  const start = at(logStart, partition);
  const from = archived.get(partition) ?? start;
  const to = at(target, partition);
  if (from >= to) return [];
  if (start > from) throw logLost(topic, partition, from, start);
  if (at(stable, partition) < to) throw logTruncated(topic, partition, to, at(stable, partition));
  const step = BigInt(limits.chunkOffsets);
  const chunks: ArchiveChunk[] = [];
  for (let next: bigint = from; next < to && chunks.length < limits.chunks; next += step) {
    chunks.push({ partition, from: String(next), to: String(next + step < to ? next + step : to) });
  }
  return chunks;
}
