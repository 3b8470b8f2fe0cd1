import { randomUUID } from "node:crypto";
import { lstat, readdir, rm, utimes } from "node:fs/promises";
import { join } from "node:path";

/** How often a process touches its folder, and looks for abandoned ones. */
const BEAT_MS = 60_000;
/** A folder that was not touched for this long belongs to a process that has ended. */
const ABANDONED_MS = 15 * 60_000;

/**
 * The name of a folder for files that nobody needs after this process. It is not made here. While the process lives it
 * keeps the folder's time young; what killed processes left beside it is deleted, now and every minute. So it works for
 * processes of several machines that share the disk.
 */
export class ScratchFolder {
  readonly path: string;
  readonly #parent: string;
  readonly #prefix: string;
  readonly #timer: NodeJS.Timeout;
  #beatAtMs: number;

  /** `prefix` tells these folders from others in `parent`; without one, everything in `parent` is of this kind. */
  constructor(parent: string, prefix = "") {
    this.#parent = parent;
    this.#prefix = prefix;
    this.path = join(parent, `${prefix}${randomUUID()}`);
    this.#beatAtMs = Date.now();
    void this.#beat();
    this.#timer = setInterval(() => void this.#beat(), BEAT_MS);
    this.#timer.unref();
  }

  /** Lets go of the folder; what is in it is for the caller to delete. */
  release(): void {
    clearInterval(this.#timer);
  }

  /**
   * Ignores what fails: the folder may not have been made yet, and on a disk that fails, what needs the folder says so.
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

/** Deletes what begins with `prefix` in `parent` and was not touched for a quarter of an hour. Returns the names. */
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
