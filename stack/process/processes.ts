import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";

/** A process id with its command line. Together they identify a process, even after ids are used again. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly command: string;
}

/** Returns the command line of process `pid`, with arguments joined by spaces; `undefined` if there is none. */
export async function commandLine(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    // Does not use `ps`, which slim images lack. The file of a zombie is empty.
    const raw = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return raw.replaceAll("\0", " ").trim() || undefined;
  }
  const { stdout } = await execa("ps", ["-ww", "-o", "command=", "-p", String(pid)], { reject: false });
  return stdout.trim() || undefined;
}

/** Returns the identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return { pid: process.pid, command: (await commandLine(process.pid)) ?? "" };
}

/** Whether the process with this identity still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  return (await commandLine(identity.pid)) === identity.command;
}

/** Sends `signal` to a process (`pid`) or to a process group (`-pid`). Does nothing if it has ended. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/**
 * Ends process group `pid`: asks its leader to end, waits up to `graceMs`, then ends the whole group. Only the leader
 * is asked, because its helpers (such as a compiler service) must live until it has finished.
 */
export async function endGroup(pid: number, graceMs: number, isGone: () => Promise<boolean>): Promise<void> {
  sendSignal(pid, "SIGTERM");
  const deadline = performance.now() + graceMs;
  while (!(await isGone()) && performance.now() < deadline) await sleep(25);
  sendSignal(-pid, "SIGKILL");
  while (!(await isGone())) await sleep(25);
}
