import { at, type Cut, cutWith } from "../../core/log/position.ts";
import { beginArchive } from "../../store/archive/generation-start.ts";
import { noLeader } from "../../store/kafka/cluster/log-errors.ts";
import { requireReached } from "../../store/kafka/read/log-check.ts";
import type { BatchStores, StreamTarget } from "../stores.ts";
import { type ArchiveChunk, planArchive } from "./archive-plan.ts";

export interface ArchivePlan {
  readonly topicId: string;
  readonly archived: Cut;
  readonly target: Cut;
  /** In order within each partition. Empty when the archive has reached the target. */
  readonly chunks: readonly ArchiveChunk[];
}

/**
 * Plans what has to be archived up to `target`. If `target` is null, plans up to the end of committed data of the
 * partitions that can be read. Throws TOPIC_RECREATED, LOG_LOST, TOPIC_MISSING, LOG_TRUNCATED when the log does not
 * continue the archive, and LOG_UNREADABLE when a partition that `target` needs has no leader.
 */
export async function planStream(
  stores: BatchStores,
  { topic }: StreamTarget,
  target: Cut | null,
): Promise<ArchivePlan> {
  const { archive, log } = stores;
  const { id } = await log.topic(topic);
  let { begun: archived } = await beginArchive(stores, topic, id);
  const tails = await archive.tails(topic, id);
  for (const [partition, tail] of tails) archived = cutWith(archived, partition, tail.position);
  const bounds = await log.readableBounds(topic);
  const { start, stable, leaderless } = bounds;
  const wanted = target ?? stable;
  const unreadable = leaderless.find((partition) => at(archived, partition) < at(wanted, partition));
  if (unreadable !== undefined) throw noLeader(topic, unreadable);
  const chunks = planArchive({ topic, archived, logStart: start, stable, target: wanted });
  const extended = new Set(chunks.map(({ partition }) => partition));
  const compared = [...tails].filter(
    ([partition]) => extended.has(partition) || (target === null && !leaderless.includes(partition)),
  );
  await requireReached({ log, topic, topicId: id, bounds }, compared);
  return { topicId: id, archived, target: wanted, chunks };
}
