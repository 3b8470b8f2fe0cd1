import type { Generation } from "../../core/definition/generation.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { type Cut, cutWith, position } from "../../core/log/position.ts";
import { noLeader, topicRecreated } from "../kafka/cluster/log-errors.ts";
import type { LogSource } from "../kafka/read/log.ts";
import type { Archive } from "./archive.ts";
import type { Manifests } from "./manifests.ts";

export interface GenerationStores {
  readonly manifests: Manifests;
  readonly archive: Archive;
  readonly log: LogSource;
}

/**
 * Returns the newest manifest of a generation, and makes version 0 if there is none. Both layers begin here. The
 * process that comes first sets the beginning: the archive's start; or the log's start for a partition without an
 * archive, which then has to begin there too. Throws TOPIC_RECREATED when the topic is not the one that the state was
 * built from, TOPIC_MISSING when there is none, LOG_UNREADABLE when the beginning of a partition is not known because
 * it has no leader.
 */
export async function beginGeneration(
  { manifests, archive, log }: GenerationStores,
  generation: Generation,
  topic: string,
  createdBy: string,
): Promise<Manifest> {
  const { id } = await log.topic(topic);
  const newest = await manifests.newest(generation);
  const wholeArchive = async () => {
    const { begun, unknown } = await beginArchive({ archive, log }, topic, id);
    const [first] = unknown;
    if (first !== undefined) throw noLeader(topic, first);
    return begun;
  };
  const manifest = newest ?? (await manifests.genesis(generation, await wholeArchive(), id, createdBy));
  if (manifest.topicId !== id) throw topicRecreated(topic, manifest.topicId, id);
  return manifest;
}

/**
 * Returns the beginning of the archive of each partition of the log, and sets it for those that have not begun.
 * `unknown` are the partitions that cannot begin, because they have no leader.
 */
export async function beginArchive(
  { archive, log }: Pick<GenerationStores, "archive" | "log">,
  topic: string,
  topicId: string,
): Promise<{ readonly begun: Cut; readonly unknown: readonly number[] }> {
  const { start, leaderless } = await log.readableBounds(topic);
  let begun: Cut = new Map();
  for (const [partition, from] of start)
    begun = cutWith(begun, partition, position(await archive.begin(topic, topicId, partition, from)));
  const unknown: number[] = [];
  for (const partition of leaderless) {
    const from = await archive.beginning(topic, partition);
    if (from === null) unknown.push(partition);
    else begun = cutWith(begun, partition, from);
  }
  return { begun, unknown };
}
