import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";

/** A process by its number and command line: together they name one process, also after numbers were used again. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly command: string;
}

/** The command line of process `pid`, its arguments joined by spaces; `undefined` when there is none. */
export async function commandLine(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    // Not `ps`: slim images lack it. A zombie's file is empty.
    const raw = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return raw.replaceAll("\0", " ").trim() || undefined;
  }
  const { stdout } = await execa("ps", ["-ww", "-o", "command=", "-p", String(pid)], { reject: false });
  return stdout.trim() || undefined;
}

/** This process, as another one would see it. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return { pid: process.pid, command: (await commandLine(process.pid)) ?? "" };
}

/** Whether the very process that `identity` names still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  return (await commandLine(identity.pid)) === identity.command;
}

/** Sends `signal` to a process (`pid`) or to a process group (`-pid`). Ignores one that has ended. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

/**
 * Ends the leader of process group `pid`: asks, waits up to `graceMs`, then ends the whole group.
 * Only the leader is asked: its helpers (a compiler service, say) must live until it has finished.
 */
export async function endGroup(pid: number, graceMs: number, isGone: () => Promise<boolean>): Promise<void> {
  sendSignal(pid, "SIGTERM");
  const deadline = performance.now() + graceMs;
  while (!(await isGone()) && performance.now() < deadline) await sleep(25);
  sendSignal(-pid, "SIGKILL");
  while (!(await isGone())) await sleep(25);
}
