import { isDeepStrictEqual } from "node:util";
import type { Generation } from "../../core/definition/generation.ts";
import type { Manifest } from "../../core/log/documents.ts";
import type { Cut } from "../../core/log/position.ts";
import { indexFolderOf } from "../../store/archive/manifests.ts";
import type { Chain } from "../../store/redis/chain.ts";
import { withinOrNull } from "../../store/time-limit.ts";
import type { BatchStores } from "../stores.ts";
import { removeStates } from "./state-index.ts";

const REDIS_MS = 5_000;
/** How long at least readers may use a version after it was replaced. */
const READERS_MS = 15_000;

/**
 * Returns the first part of a state file's name: the last version that may be the first to name the file. Once that
 * version is taken, nobody can publish the file any more, so it can be deleted.
 */
export function versionPrefix(version: number): string {
  return String(version).padStart(9, "0");
}

/** Returns the version in a state file's name (see `versionPrefix`); null if the name has none. */
export function lastVersionOf(file: string): number | null {
  const name = file.slice(file.lastIndexOf("/") + 1);
  return /^\d{9}-/.test(name) ? Number(name.slice(0, 9)) : null;
}

/**
 * Step 6 of a settlement (docs/internals/settlement.md): creates a manifest exclusively. Returns true if this manifest
 * is the published one, created by this call or by an earlier attempt of the same run whose result was lost. Otherwise
 * deletes the files that only this manifest names, and returns false.
 */
export async function publishVersion(stores: BatchStores, manifest: Manifest): Promise<boolean> {
  if (await stands(stores, manifest)) return true;
  const { manifests, data } = stores;
  const winner = await manifests.version(manifest.generation, manifest.version);
  const before = await manifests.version(manifest.generation, manifest.version - 1);
  const held = new Set([...(winner?.files ?? []), ...(before?.files ?? [])].map(({ file }) => file));
  for (const file of manifest.files) if (!held.has(file.file)) await removeStates(data, file);
  return false;
}

/** Creates a manifest exclusively. Returns whether it is the published one. Deletes nothing if it is not. */
export async function stands({ manifests }: BatchStores, manifest: Manifest): Promise<boolean> {
  if (await manifests.create(manifest)) return true;
  const winner = await manifests.version(manifest.generation, manifest.version);
  // The marks of one cut may have different epochs, before and after archive files were merged.
  const essence = (one: Manifest) => ({ ...one, createdAtMs: 0, marks: undefined });
  return winner !== null && isDeepStrictEqual(essence(winner), essence(manifest));
}

/**
 * Step 7 of a settlement (docs/internals/settlement.md), in Redis: moves the pointer to `version`, and deletes segments
 * below `cut` (none if it is null). Returns false if Redis did not answer: the next publish does it then.
 */
export async function announce(chain: Chain, version: number, cut: Cut | null): Promise<boolean> {
  const done = await withinOrNull(REDIS_MS, async () => {
    await chain.publish(version);
    if (cut !== null) await chain.trim(cut);
    return true;
  });
  return done ?? false;
}

/**
 * Step 7 of a settlement (docs/internals/settlement.md), on disk: deletes state files and indexes that neither the
 * newest version nor one in grace names. Files of killed attempts are deleted once their version is taken; files for a
 * later version stay. Deletes manifests that are so old that they only take space. Returns how many state files it
 * deleted.
 */
export async function sweepStates(stores: BatchStores, generation: Generation): Promise<number> {
  const { manifests, data } = stores;
  const newest = await manifests.newest(generation);
  if (newest === null) return 0;
  await manifests.prune(generation, newest.version);
  const versions = [newest, ...(await versionsInGrace(stores, newest))];
  const held = new Set(versions.flatMap(({ files }) => files.flatMap(({ file, index }) => [file, index?.file])));
  const states = manifests.stateFolder(generation);
  let swept = 0;
  for (const folder of [states, indexFolderOf(states) ?? states])
    for (const name of await data.list(folder)) {
      const file = `${folder}/${name}`;
      if (held.has(file) || (lastVersionOf(name) ?? Number.POSITIVE_INFINITY) > newest.version) continue;
      await data.remove(file);
      if (folder === states) swept += 1;
    }
  return swept;
}

/**
 * Returns the versions before `manifest` that may still be read, the newest first: the one before it, and those that
 * were replaced less than the readers' time ago. A version with its predecessor's cut only replaced files and may be a
 * moment old, so its predecessor is returned too.
 */
export async function versionsInGrace(
  { manifests, readersMs = READERS_MS }: Pick<BatchStores, "manifests" | "readersMs">,
  manifest: Manifest,
): Promise<Manifest[]> {
  const held: Manifest[] = [];
  let { version } = manifest;
  for (let isOld = false; !isOld && version > 0; ) {
    version -= 1;
    const earlier = await manifests.version(manifest.generation, version);
    if (earlier === null) break;
    held.push(earlier);
    const ageMs = Date.now() - earlier.createdAtMs;
    // A version with a time in the future was made before a clock was set back: its age means nothing.
    isOld = !isDeepStrictEqual(earlier.base, earlier.cut) && (ageMs >= readersMs || ageMs < 0);
  }
  return held;
}

/** A cut, and for each partition the last record below it, if that is known. */
export interface MarkedCut {
  readonly cut: Cut;
  readonly marks: NonNullable<Manifest["marks"]>;
}

/**
 * Returns the manifest after `previous` with these files. Cut and marks are those of `previous` unless the cut has
 * moved.
 */
export function nextManifest(
  previous: Manifest,
  next: Pick<Manifest, "files" | "ledger" | "createdBy"> & { moved?: MarkedCut },
): Manifest {
  const { generation, topicId, cut } = previous;
  const { files, ledger, createdBy, moved } = next;
  const marks = moved === undefined ? previous.marks : moved.marks;
  return {
    generation,
    version: previous.version + 1,
    base: cut,
    cut: moved?.cut ?? cut,
    files,
    ledger,
    topicId,
    ...(marks === undefined ? {} : { marks }),
    createdBy,
    createdAtMs: Date.now(),
  };
}
