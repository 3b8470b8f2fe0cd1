import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { isRunning, ownIdentity } from "./processes.ts";
import type { Work } from "./work.ts";

const holderShape = z.object({ pid: z.number().int(), command: z.string() });

/**
 * Tries once to take the lock file; returns `false` if a living process holds it. Removes the lock of a dead process.
 */
async function take(file: string): Promise<boolean> {
  try {
    await writeFile(file, JSON.stringify(await ownIdentity()), { flag: "wx" });
    return true;
  } catch {
    const text = await readFile(file, "utf8").catch(() => "");
    const holder = holderShape.safeParse(text === "" ? undefined : JSON.parse(text));
    // An empty file means that its holder is just writing it.
    if (holder.success && !(await isRunning(holder.data))) await rm(file, { force: true });
    return false;
  }
}

/**
 * Runs `task` while no other process runs one under the same lock file. For example, two test runs on a bare machine
 * must not both build for minutes. If two processes find the same dead holder, both may get the lock; the tasks here
 * allow that, it only costs time.
 */
export async function withLock<T>(file: string, work: Work, task: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  let waiting = false;
  while (!(await take(file))) {
    if (!waiting) work.report("waiting until another installation is finished");
    waiting = true;
    await sleep(200, undefined, { signal: work.signal });
  }
  try {
    return await task();
  } finally {
    await rm(file, { force: true });
  }
}
