import { type CutJson, cutFromJson, cutToJson, cutWith } from "../core/position.ts";
import { beginArchive } from "../store/generation-start.ts";
import { type ArchiveChunk, planArchive } from "./archive-plan.ts";
import type { BatchStores, StreamTarget } from "./stores.ts";

export interface ArchivePlan {
  readonly topicId: string;
  readonly archived: CutJson;
  readonly target: CutJson;
  /** In order within each partition; empty when the archive has reached the target. */
  readonly chunks: readonly ArchiveChunk[];
}

/**
 * What is left to archive up to `target`, or up to the end of committed data when that is null.
 * Throws TOPIC_RECREATED, LOG_LOST, LOG_TRUNCATED, TOPIC_MISSING.
 */
export async function planStream(
  stores: BatchStores,
  { topic }: StreamTarget,
  target: CutJson | null,
): Promise<ArchivePlan> {
  const { archive, log } = stores;
  const { id } = await log.topic(topic);
  let archived = await beginArchive(stores, topic, id);
  for (const [partition, to] of await archive.archived(topic, id)) archived = cutWith(archived, partition, to);
  const { start, stable } = await log.bounds(topic);
  const wanted = target === null ? stable : cutFromJson(target);
  const chunks = planArchive({ topic, archived, logStart: start, stable, target: wanted });
  return { topicId: id, archived: cutToJson(archived), target: cutToJson(wanted), chunks };
}
