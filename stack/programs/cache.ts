import { access, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { withLock } from "../process/lock.ts";
import type { Work } from "../process/work.ts";

const unfinished = ".unfinished-";
const unfinishedKeptMs = 24 * 60 * 60 * 1000;

/** Returns the folder of fetched and built servers. It is outside of the checkout, so that a fresh clone finds them. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const base = env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return resolve(env.TIDELINE_CACHE || join(base, "tideline"));
}

/** Whether there is anything at `path`. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Removes the unfinished entries of killed processes. */
async function removeOldUnfinished(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith(unfinished)) continue;
    const { mtimeMs } = await stat(join(cacheDir, name)).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > unfinishedKeptMs) await rm(join(cacheDir, name), { recursive: true, force: true });
  }
}

/**
 * Returns the folder `entry` of the cache. If it does not exist, `make` makes it in a temporary folder, which is then
 * renamed, so that an existing entry is always complete.
 */
export async function cached(
  cacheDir: string,
  entry: string,
  work: Work,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const target = join(cacheDir, entry);
  if (await exists(target)) return target;
  await mkdir(cacheDir, { recursive: true });
  await withLock(join(cacheDir, `${entry}.lock`), work, async () => {
    if (await exists(target)) return;
    await removeOldUnfinished(cacheDir);
    const folder = await mkdtemp(join(cacheDir, unfinished));
    try {
      await make(folder);
      await rename(folder, target);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      if (!(await exists(target))) throw error;
    }
  });
  return target;
}
