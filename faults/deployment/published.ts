import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isMerged, Manifest } from "../../core/log/documents.ts";
import { at, cutsEqual, cutText } from "../../core/log/position.ts";
import { Archive } from "../../store/archive/archive.ts";
import { DataDirectory } from "../../store/files/files.ts";
import type { Deployment } from "./deployment.ts";

/** What an installation has published, read from its folder as a person would. */

/** The newest manifest of what is served of a view; null before the first. */
export async function newestManifest(deployment: Deployment, view: string): Promise<Manifest | null> {
  const generation = deployment.latest(view)?.position.generation;
  return generation === undefined ? null : ((await manifests(deployment, generation)).at(-1) ?? null);
}

/**
 * The archiver's files that a computation of this version's state reads: none that lies beyond its cut, or that a
 * merged one stands for. (A merged one is not among them, because a worker may still go by a list from before the
 * merge.)
 */
export async function archivedFiles({ home }: Deployment, topic: string, manifest: Manifest): Promise<string[]> {
  const archive = new Archive(new DataDirectory(join(home, "data")));
  const { topicId } = manifest;
  const start = await archive.start(topic, topicId);
  const found: string[] = [];
  for (const [partition, to] of manifest.cut)
    for (const entry of await archive.covering(topic, topicId, { partition, from: at(start, partition), to }))
      if (entry.file !== null && !isMerged(entry)) found.push(entry.file);
  return found;
}

/**
 * What is wrong with the versions of a view: each must begin where the one before ended, and a cut never moves back
 * (invariants 1 and 7).
 */
export async function brokenVersions(deployment: Deployment, view: string): Promise<string[]> {
  const generation = deployment.latest(view)?.position.generation;
  if (generation === undefined) return [`${view} has never answered`];
  const problems: string[] = [];
  let last: Manifest | undefined;
  for (const manifest of await manifests(deployment, generation)) {
    if (last !== undefined && !cutsEqual(manifest.base, last.cut))
      problems.push(
        `${view}: version ${manifest.version} was built on ` +
          `${cutText(manifest.base)}, not on the cut of version ${last.version}`,
      );
    for (const [partition, offset] of manifest.base)
      if (at(manifest.cut, partition) < offset)
        problems.push(`${view}: the cut of version ${manifest.version} moved back in partition ${partition}`);
    last = manifest;
  }
  return problems;
}

function manifests({ home }: Deployment, generation: string): Promise<Manifest[]> {
  return documents(join(home, "data", "views", generation, "manifests"), (json) => Manifest.parse(json));
}

async function documents<T>(folder: string, parse: (json: unknown) => T): Promise<T[]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith(".")).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return texts.map((text) => parse(JSON.parse(text)));
}
