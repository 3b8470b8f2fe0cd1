import { mkdirSync, writeFileSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import { commandLine, endGroup, isRunning, type ProcessIdentity } from "./processes.ts";

const recordShape = z.object({
  pid: z.number().int().positive(),
  /** A unique part of the process's command line. The process id alone may belong to another program by now. */
  mark: z.string().min(1),
  graceMs: z.number(),
  startedAtMs: z.number(),
  /** The Tideline that started the process. */
  owner: z.object({ pid: z.number().int().positive(), command: z.string() }),
});
export type ProcessRecord = z.infer<typeof recordShape>;

const runFolder = (home: string) => join(home, "run");
const recordFile = (home: string, name: string) => join(runFolder(home), `${name}.pid`);

/**
 * Stores the record of a process that was just started. Synchronous, so that nothing runs between the start and the
 * record.
 */
export function writeRecord(home: string, name: string, record: ProcessRecord): void {
  mkdirSync(runFolder(home), { recursive: true });
  writeFileSync(recordFile(home, name), JSON.stringify(record));
}

export async function removeRecord(home: string, name: string): Promise<void> {
  await rm(recordFile(home, name), { force: true });
}

async function readRecord(home: string, name: string): Promise<ProcessRecord | undefined> {
  const text = await readFile(recordFile(home, name), "utf8").catch(() => "");
  try {
    return recordShape.parse(JSON.parse(text));
  } catch {
    return undefined; // cut short by a crash: its process cannot be found again
  }
}

async function requireOwnerGone(home: string, owner: ProcessIdentity): Promise<void> {
  if (owner.pid === process.pid || !(await isRunning(owner))) return;
  throw new TidelineError(
    "CONFIG_INVALID",
    `Another Tideline (process ${owner.pid}) is running on ${home}`,
    "Stop that one with Ctrl+C, or choose another folder with --home or TIDELINE_HOME.",
  );
}

async function endOne(home: string, name: string, record: ProcessRecord): Promise<void> {
  const isGone = async () => !(await commandLine(record.pid))?.includes(record.mark);
  if (!(await isGone())) await endGroup(record.pid, record.graceMs, isGone);
  await removeRecord(home, name);
}

/**
 * Ends the processes on `home` that a killed Tideline left running, newest first, and returns their names. Throws
 * `CONFIG_INVALID` if that Tideline still runs.
 */
export async function endLeftovers(home: string, only?: string): Promise<string[]> {
  const files = await readdir(runFolder(home)).catch(() => []);
  const found: { name: string; record: ProcessRecord }[] = [];
  for (const file of files.filter((file) => file.endsWith(".pid"))) {
    const name = file.slice(0, -".pid".length);
    const record = only === undefined || only === name ? await readRecord(home, name) : undefined;
    if (record !== undefined) found.push({ name, record });
  }
  for (const { record } of found) await requireOwnerGone(home, record.owner);
  found.sort((a, b) => b.record.startedAtMs - a.record.startedAtMs);
  for (const { name, record } of found) await endOne(home, name, record);
  return found.map(({ name }) => name);
}
