import type { Generation } from "../../core/definition/generation.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { type Cut, cutReached } from "../../core/log/position.ts";
import type { BatchStores } from "../stores.ts";
import { nextManifest, publishVersion } from "./publish.ts";

/** Work on the newest version while refreshes publish newer ones and delete the files of older ones. */

const TRIES = 5;

/** Returns the newest version. Throws NOT_READY before the first publish. */
export async function newestOf(
  { manifests }: Pick<BatchStores, "manifests">,
  generation: Generation,
): Promise<Manifest> {
  const newest = await manifests.newest(generation);
  if (newest === null)
    throw new TidelineError(
      "NOT_READY",
      `${generation}: nothing has been published yet`,
      "Run `tideline settle <view>`, or wait a minute for the worker, which settles by itself.",
    );
  return newest;
}

/**
 * Returns the result of `work` on the newest version. Starts again if two refreshes in between have caused its files to
 * be deleted.
 */
export async function readNewest<T>(
  stores: Pick<BatchStores, "manifests">,
  generation: Generation,
  work: (newest: Manifest) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const newest = await newestOf(stores, generation);
    try {
      return await work(newest);
    } catch (error) {
      const swept =
        isTidelineError(error, "ARCHIVE_DAMAGED") && (await newestOf(stores, generation)).version > newest.version + 1;
      if (!swept || attempt >= TRIES) throw error;
    }
  }
}

/**
 * Throws NOT_READY if the newest version does not reach `reached`, so that results up to there cannot be added to it.
 * This happens when the data directory was restored since the work began. Refreshes have to catch up first.
 */
export function requireCutReached({ generation, version, cut }: Manifest, reached: Cut): void {
  if (cutReached(cut, reached)) return;
  throw new TidelineError(
    "NOT_READY",
    `${generation}: version ${version} ends before the one that this run began with: the data was restored`,
    "It goes on once the worker has settled the stream again; `tideline status` shows how far it is.",
  );
}

/**
 * Publishes the result of `make` in place of the newest version, at the same cut. Calls `make` again when another
 * version was published first. Throws NOT_READY when that happens again and again.
 */
export async function replaceNewest(
  stores: BatchStores,
  generation: Generation,
  createdBy: string,
  make: (newest: Manifest) => Promise<Pick<Manifest, "files" | "ledger">>,
): Promise<Manifest> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const newest = await newestOf(stores, generation);
    try {
      const manifest = nextManifest(newest, { ...(await make(newest)), createdBy });
      if (await publishVersion(stores, manifest)) return manifest;
    } catch (error) {
      // Another writer has published the version, and its sweep may have deleted the files.
      if ((await newestOf(stores, generation)).version === newest.version) throw error;
    }
  }
  throw new TidelineError(
    "NOT_READY",
    `${generation}: ${TRIES} times another version was published while this one was written`,
    "Run `tideline schedules pause settle-<stream>` for the stream of the view, try again, then run `tideline " +
      "schedules resume settle-<stream>`: nothing is archived while it is paused.",
  );
}
