import { readdirSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/**
 * How far a process stands behind the one that started it, as nice values. Where they want the same processor, the
 * worker and the helper get a third of what the speed layer and the server get, long work a thirtieth.
 */
const BEHIND = {
  /** Versions of views may be some seconds later; answers may not. */
  worker: 5,
  /** The server's process for large answers, behind the server. */
  helper: 5,
  /** The worker's process for long work, behind the worker. */
  background: 10,
} as const;
const LOWEST = 19;

/** Lowers the priority of this process, to be called when it begins: on Linux each thread has its own. */
export function standBehind(process: keyof typeof BEHIND): void {
  const priority = Math.min(LOWEST, getPriority() + BEHIND[process]);
  for (const thread of ["0", ...threads()]) {
    try {
      setPriority(Number(thread), priority);
    } catch {
      // Not every system allows it, or the thread has ended; nothing but latency depends on it.
    }
  }
}

/** Threads that there are already; those to come have the priority of the one that makes them. None elsewhere. */
function threads(): string[] {
  try {
    return readdirSync("/proc/self/task");
  } catch {
    return [];
  }
}
