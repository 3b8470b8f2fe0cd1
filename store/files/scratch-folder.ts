import { randomUUID } from "node:crypto";
import { lstat, readdir, rm, utimes } from "node:fs/promises";
import { join } from "node:path";

/** How often a process touches its folder, and looks for abandoned ones. */
const BEAT_MS = 60_000;
/** A folder that was not touched for this long belongs to a process that has ended. */
const ABANDONED_MS = 15 * 60_000;

/**
 * The name of a folder for files that nobody needs after this process. The folder is not made here. While the process
 * lives, it touches the folder regularly. It also deletes the folders of killed processes next to it, at once and every
 * minute. The same works for processes of several machines that share the disk.
 */
export class ScratchFolder {
  readonly path: string;
  readonly #parent: string;
  readonly #prefix: string;
  readonly #timer: NodeJS.Timeout;
  #beatAtMs: number;

  /**
   * `prefix` distinguishes these folders from others in `parent`. Without one, everything in `parent` is such a folder.
   */
  constructor(parent: string, prefix = "") {
    this.#parent = parent;
    this.#prefix = prefix;
    this.path = join(parent, `${prefix}${randomUUID()}`);
    this.#beatAtMs = Date.now();
    void this.#beat();
    this.#timer = setInterval(() => void this.#beat(), BEAT_MS);
    this.#timer.unref();
  }

  /** Stops touching the folder. The caller has to delete its contents. */
  release(): void {
    clearInterval(this.#timer);
  }

  /**
   * Touches the folder and sweeps. Ignores errors: the folder may not exist yet, and a failing disk is reported by the
   * code that uses the folder.
   */
  async #beat(): Promise<void> {
    const now = new Date();
    const isAwake = now.getTime() - this.#beatAtMs < ABANDONED_MS / 2;
    this.#beatAtMs = now.getTime();
    await utimes(this.path, now, now).catch(() => undefined);
    // After a machine has slept, all folders on it are old until their processes have touched them.
    if (isAwake) await sweepAbandoned(this.#parent, this.#prefix, now.getTime()).catch(() => undefined);
  }
}

/**
 * Deletes the folders in `parent` that begin with `prefix` and were not touched for a quarter of an hour. Returns their
 * names.
 */
export async function sweepAbandoned(parent: string, prefix: string, nowMs: number): Promise<string[]> {
  const names = await readdir(parent).catch(() => []);
  const swept: string[] = [];
  for (const name of names) {
    if (!name.startsWith(prefix)) continue;
    const path = join(parent, name);
    const found = await lstat(path).catch(() => null);
    if (found === null || nowMs - found.mtimeMs < ABANDONED_MS) continue;
    await rm(path, { recursive: true, force: true });
    swept.push(name);
  }
  return swept;
}
