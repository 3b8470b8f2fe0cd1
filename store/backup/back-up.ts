import { rm } from "node:fs/promises";
import { join } from "node:path";
import { TidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "../files/files.ts";
import { ScratchFolder } from "../files/scratch-folder.ts";
import { type BackupFolder, type Point, type PointFile, pointName } from "./backup-folder.ts";
import { takeSnapshot } from "./snapshot.ts";

/** The beginning of the name of the folder in which a running backup keeps second names of its files. */
export const HOLD = ".backup-";
const COPIES_AT_ONCE = 4;

export interface BackupOptions {
  readonly nowMs: number;
  readonly signal: AbortSignal;
  /** Called with the number of files done, and the number of all files. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** A new point, and its cost: the files and bytes that the folder did not have before. */
export interface BackupResult {
  readonly point: Point;
  readonly newFiles: number;
  readonly newBytes: number;
}

/**
 * Adds a point to a backup folder while the installation runs. Makes a snapshot of hard links, copies the files that
 * the folder does not have, compares each with its hash, and writes the index. A run that fails or is aborted leaves no
 * point; the next one continues with the files that were copied. Throws ARCHIVE_DAMAGED, INPUT_MISSING without a data
 * directory.
 */
export async function backUp(data: DataDirectory, folder: BackupFolder, options: BackupOptions): Promise<BackupResult> {
  const { nowMs, signal, onProgress = () => undefined } = options;
  if ((await data.list(".")).length === 0)
    throw new TidelineError("INPUT_MISSING", `there is no data directory at ${data.root}`, "Set TIDELINE_HOME.");
  await folder.prepare();
  const hold = new ScratchFolder(data.root, HOLD);
  try {
    const { files: wanted, views, streams } = await takeSnapshot(data, hold.path);
    const files: PointFile[] = [];
    let [done, newFiles, newBytes] = [0, 0, 0];
    const waiting = wanted.values();
    const copy = async () => {
      for (const { path, checksum } of waiting) {
        signal.throwIfAborted();
        const { isNew, ...file } = await folder.add(join(hold.path, path), checksum, signal);
        files.push({ path, ...file });
        if (isNew) [newFiles, newBytes] = [newFiles + 1, newBytes + file.sizeBytes];
        onProgress(++done, wanted.length);
      }
    };
    await allOf(Array.from({ length: COPIES_AT_ONCE }, copy));
    signal.throwIfAborted();
    const name = pointName(nowMs);
    const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    await folder.write({ name, atMs: nowMs, views: [...views], streams: [...streams], files: sorted });
    return { point: await folder.point(name), newFiles, newBytes };
  } finally {
    hold.release();
    await rm(hold.path, { recursive: true, force: true });
  }
}

/** Waits for all promises, also if one fails, so that no write continues. Then throws the first error. */
export async function allOf(work: readonly Promise<void>[]): Promise<void> {
  const outcomes = await Promise.allSettled(work);
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
