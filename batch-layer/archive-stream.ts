import { type CutJson, cutFromJson, cutToJson, cutWith, position } from "../core/position.ts";
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

/**
 * Deletes files that no entry names and none ever will: they belong to attempts that were killed, or that lost a race.
 * A file whose name begins at the archive's end or beyond may still be published and stays. Answers how many it
 * deleted.
 */
export async function sweepArchive(
  { archive, data }: BatchStores,
  { topic }: StreamTarget,
  topicId: string,
): Promise<number> {
  let swept = 0;
  for (const partition of await archive.partitions(topic)) {
    const entries = await archive.entries(topic, topicId, partition);
    const end = position(entries.at(-1)?.to ?? 0);
    const named = new Set(entries.map(({ file }) => file));
    const folder = archive.fileFolder(topic, partition);
    for (const name of await data.list(folder)) {
      const file = `${folder}/${name}`;
      if (named.has(file) || !/^\d{19}-/.test(name) || position(name.slice(0, 19)) >= end) continue;
      await data.remove(file);
      swept += 1;
    }
  }
  return swept;
}
