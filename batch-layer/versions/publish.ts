import { isDeepStrictEqual } from "node:util";
import type { Generation } from "../../core/definition/generation.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { type Cut, cutToJson } from "../../core/log/position.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { BatchStores } from "../stores.ts";
import { within } from "../time-limit.ts";

const REDIS_MS = 5_000;

/**
 * The name of a state file begins with the version it was written for, so that it shows when nobody can publish it any
 * more.
 */
export function versionPrefix(version: number): string {
  return String(version).padStart(9, "0");
}

/**
 * Step 6 of a refresh: creates a manifest exclusively. Lost the race: deletes the files that only this one names. True:
 * the version that stands is this one, made by this call or by an earlier attempt of the same run whose answer was
 * lost.
 */
export async function publishVersion({ manifests, data }: BatchStores, manifest: Manifest): Promise<boolean> {
  if (await manifests.create(manifest)) return true;
  const winner = await manifests.version(manifest.generation, manifest.version);
  const held = new Set(winner?.files.map(({ file }) => file));
  const before = await manifests.version(manifest.generation, manifest.version - 1);
  for (const { file } of before?.files ?? []) held.add(file);
  for (const { file } of manifest.files) if (!held.has(file)) await data.remove(file);
  // Marks of one cut may state different epochs, of archive files before and after they were merged.
  const essence = (one: Manifest) => ({ ...one, createdAtMs: 0, marks: undefined });
  return winner !== null && isDeepStrictEqual(essence(winner), essence(manifest));
}

/**
 * Step 7 of a refresh, in Redis: the pointer moves to `version`, and segments below `cut` go (none when it is null).
 * False when Redis did not answer: the next publish makes up for it.
 */
export async function announce(chain: Chain, version: number, cut: Cut | null): Promise<boolean> {
  const done = await within(REDIS_MS, async () => {
    await chain.publish(version);
    if (cut !== null) await chain.trim(cut);
    return true;
  });
  return done ?? false;
}

/**
 * Step 7 of a refresh, on disk: deletes state files that neither the newest version nor the one before it names
 * (grace). Files of attempts that were killed go too, once their version is taken; those written for a version to come
 * stay. Manifests go when they are so old that they only take room. Answers how many state files it deleted.
 */
export async function sweepStates({ manifests, data }: BatchStores, generation: Generation): Promise<number> {
  const newest = await manifests.newest(generation);
  if (newest === null) return 0;
  await manifests.prune(generation, newest.version);
  const previous = newest.version === 0 ? null : await manifests.version(generation, newest.version - 1);
  const held = new Set([...newest.files, ...(previous?.files ?? [])].map(({ file }) => file));
  const folder = manifests.stateFolder(generation);
  let swept = 0;
  for (const name of await data.list(folder)) {
    const file = `${folder}/${name}`;
    if (held.has(file) || !/^\d{9}-/.test(name) || Number(name.slice(0, 9)) > newest.version) continue;
    await data.remove(file);
    swept += 1;
  }
  return swept;
}

/** A cut, and by partition the last record below it where that is known. */
export interface MarkedCut {
  readonly cut: Cut;
  readonly marks: NonNullable<Manifest["marks"]>;
}

/** The manifest after `previous` with these files; cut and marks are those of `previous` unless the cut has moved. */
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
    cut: moved === undefined ? cut : cutToJson(moved.cut),
    files,
    ledger,
    topicId,
    ...(marks === undefined ? {} : { marks }),
    createdBy,
    createdAtMs: Date.now(),
  };
}
