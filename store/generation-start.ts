import type { Manifest } from "../core/documents.ts";
import type { Generation } from "../core/generation.ts";
import { type Cut, cutWith, position } from "../core/position.ts";
import type { Archive } from "./archive.ts";
import type { LogSource } from "./log.ts";
import { topicRecreated } from "./log-errors.ts";
import type { Manifests } from "./manifests.ts";

export interface GenerationStores {
  readonly manifests: Manifests;
  readonly archive: Archive;
  readonly log: LogSource;
}

/**
 * The newest manifest of a generation; makes version 0 when there is none. Both layers begin here, and whoever comes
 * first decides where: at the archive's start, or at the log's start for a partition that has no archive yet, where the
 * archive is then bound to begin too. Throws TOPIC_RECREATED when the topic is no longer the one that the state was
 * built from, TOPIC_MISSING when there is none.
 */
export async function beginGeneration(
  { manifests, archive, log }: GenerationStores,
  generation: Generation,
  topic: string,
  createdBy: string,
): Promise<Manifest> {
  const { id } = await log.topic(topic);
  const newest = await manifests.newest(generation);
  const manifest =
    newest ?? (await manifests.genesis(generation, await beginArchive({ archive, log }, topic, id), id, createdBy));
  if (manifest.topicId !== id) throw topicRecreated(topic, manifest.topicId, id);
  return manifest;
}

/** Where the archive of each of the log's partitions begins; fixes it for those that have not begun. */
export async function beginArchive(
  { archive, log }: Pick<GenerationStores, "archive" | "log">,
  topic: string,
  topicId: string,
): Promise<Cut> {
  let begun: Cut = new Map();
  for (const [partition, start] of (await log.bounds(topic)).start) {
    begun = cutWith(begun, partition, position(await archive.begin(topic, topicId, partition, start)));
  }
  return begun;
}
