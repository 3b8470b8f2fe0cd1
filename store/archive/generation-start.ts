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
 * The newest manifest of a generation; makes version 0 when there is none. Both layers begin here, and the process that
 * comes first decides where: at the archive's start, or at the log's start for a partition that has no archive yet,
 * where the archive is then bound to begin too. Throws TOPIC_RECREATED when the topic is no longer the one that the
 * state was built from, TOPIC_MISSING when there is none, LOG_UNREADABLE when it is not known where a partition begins
 * because it has no leader.
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
 * Where the archive of each of the log's partitions begins; fixes it for those that have not begun. `unknown` are
 * partitions that have not, and cannot: they have no leader.
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
