import { randomUUID } from "node:crypto";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "./files.ts";

/** The folder in the data directory with a document for each role that runs on it. Nothing in it is durable. */
const COMPACTOR = ".roles";
/** How often a role renews the time of its document. */
const BEAT_MS = 5_000;
/** A role whose document was renewed within this time is alive. */
const SURELY_ALIVE_MS = 3 * BEAT_MS;
/** A role whose document was not renewed for this long has ended. */
const GONE_MS = 60_000;
/** For how long a killed role is reported as missing. */
const LOST_MS = 86_400_000;
/** The document of a killed role is deleted after this long. */
const FORGOTTEN_MS = 7 * 86_400_000;

const RunningRole = z.object({ role: z.string(), host: z.string(), pid: z.int(), startedAtMs: z.int() });
export type RunningRole = z.infer<typeof RunningRole>;

/** The document that `announceRole` has written. */
export interface RoleNote {
  /**
   * Returns the other roles that run on the directory, as `findRoles`. If two begin at the same time, each sees the
   * other.
   */
  others(): Promise<RunningRole[]>;
  leave(): Promise<void>;
}

/**
 * Stores a document in the data directory which says that a role runs on it. A role's knowledge of the directory is
 * right only while nobody replaces the directory. So `onReplaced` is called, once, when the document has disappeared;
 * the process has to end then. Throws DIRECTORY_IN_USE when a restore into the directory was interrupted.
 */
export async function announceRole(
  data: DataDirectory,
  role: string,
  onReplaced: () => void,
  beatMs = BEAT_MS,
): Promise<RoleNote> {
  await requireWhole(data);
  const name = join(COMPACTOR, `${role}-${randomUUID()}.json`);
  await data.createExclusively(name, { role, host: hostname(), pid: process.pid, startedAtMs: Date.now() });
  let isReplaced = false;
  const beat = async () => {
    const now = new Date();
    try {
      await utimes(data.path(name), now, now);
    } catch (error) {
      // A disk that fails is reported by the code that reads and writes data.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || isReplaced) return;
      // Set it at once: several beats may wait for a slow disk.
      isReplaced = true;
      clearInterval(timer);
      onReplaced();
    }
  };
  const timer = setInterval(() => void beat(), beatMs);
  timer.unref();
  return {
    others: () => findRoles(data, { except: name, beatMs }),
    leave: async () => {
      clearInterval(timer);
      await data.remove(name);
    },
  };
}

/**
 * Returns the same as `runningRoles`. But if a note is old and its process is alive on this machine, waits for two
 * beats: after a machine has slept, all notes are old for a moment. An old note does not count by itself, because
 * another process may have got the same id.
 */
export async function findRoles(
  data: DataDirectory,
  { except, beatMs = BEAT_MS }: { readonly except?: string; readonly beatMs?: number } = {},
): Promise<RunningRole[]> {
  const running = await runningRoles(data, Date.now(), except);
  if (running.length > 0) return running;
  const asleep = (await notesIn(data, except)).some(({ note }) => note.host === hostname() && isAlive(note.pid));
  if (!asleep) return [];
  await delay(2 * beatMs);
  return runningRoles(data, Date.now(), except);
}

/**
 * Returns the roles that run on a data directory. A killed role counts for a minute, or for 15 seconds when its process
 * has disappeared from this machine.
 */
export async function runningRoles(data: DataDirectory, nowMs: number, except?: string): Promise<RunningRole[]> {
  const running: RunningRole[] = [];
  for (const { note, path, beatAtMs } of await notesIn(data, except)) {
    const ageMs = nowMs - beatAtMs;
    // A recent note is enough. The process id may not be visible here: containers can share a host name but not
    // processes.
    const isGone = ageMs > SURELY_ALIVE_MS && note.host === hostname() && !isAlive(note.pid);
    // Keep the note until then: a role that slept for long ends if its note is missing.
    if (ageMs > FORGOTTEN_MS) await rm(path, { force: true });
    else if (!isGone && Math.abs(ageMs) <= GONE_MS) running.push(note);
  }
  return running;
}

/**
 * Returns the roles without a living process of which a process ended within the last day without deleting its note: it
 * was killed, or its machine failed.
 */
export async function lostRoles(data: DataDirectory, nowMs: number): Promise<string[]> {
  const alive = new Set((await runningRoles(data, nowMs)).map(({ role }) => role));
  const notes = await notesIn(data, undefined);
  const lost = notes.filter(({ note, beatAtMs }) => !alive.has(note.role) && nowMs - beatAtMs < LOST_MS);
  return [...new Set(lost.map(({ note }) => note.role))].sort();
}

interface FoundNote {
  readonly note: RunningRole;
  readonly path: string;
  /** When it was last renewed, in epoch milliseconds. */
  readonly beatAtMs: number;
}

async function notesIn(data: DataDirectory, except: string | undefined): Promise<FoundNote[]> {
  const notes: FoundNote[] = [];
  for (const file of await readdir(data.path(COMPACTOR)).catch(() => [] as string[])) {
    if (file.startsWith(".") || join(COMPACTOR, file) === except) continue;
    const path = data.path(join(COMPACTOR, file));
    const found = await stat(path).catch(() => null);
    const note = found === null ? null : readNote(await readFile(path, "utf8").catch(() => ""));
    if (found !== null && note !== null) notes.push({ note, path, beatAtMs: found.mtimeMs });
  }
  return notes;
}

/**
 * Returns the beginning of the names of the folders in which restores gather a data directory before it replaces
 * `root`.
 */
export function restoringFolder(root: string): string {
  return `${root}.restoring`;
}

/** Returns these folders. */
export async function restoringFolders(root: string): Promise<string[]> {
  const name = basename(restoringFolder(root));
  const names = await readdir(dirname(root)).catch(() => [] as string[]);
  return names.filter((one) => one === name || one.startsWith(`${name}-`)).map((one) => join(dirname(root), one));
}

/** Throws DIRECTORY_IN_USE when a restore was interrupted before the restored directory was in its place. */
async function requireWhole(data: DataDirectory): Promise<void> {
  if ((await data.list(".")).length > 0) return;
  const [staged] = await restoringFolders(data.root);
  if (staged !== undefined)
    throw new TidelineError(
      "DIRECTORY_IN_USE",
      `${data.root} is empty, and ${staged} holds a restore that did not end`,
      "Run `tideline restore <folder>` again; to begin with an empty directory instead delete the other one.",
    );
}

function readNote(text: string): RunningRole | null {
  try {
    return RunningRole.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
