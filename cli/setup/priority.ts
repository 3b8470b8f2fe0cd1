import { readdirSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/**
 * How much lower the priority of a process is than that of its parent, as nice values. When they compete for a
 * processor, the worker and the helper get a third of what the speed layer and the server get, long work a thirtieth.
 */
const BEHIND = {
  /** Versions of views may come some seconds later; answers may not. */
  worker: 5,
  /** The server's process for large answers, relative to the server. */
  helper: 5,
  /** The worker's process for long work, relative to the worker. */
  background: 10,
} as const;
const LOWEST = 19;

/** Lowers the priority of this process. Call this at its start: on Linux each thread has its own priority. */
export function standBehind(process: keyof typeof BEHIND): void {
  const priority = Math.min(LOWEST, getPriority() + BEHIND[process]);
  for (const thread of ["0", ...threads()]) {
    try {
      setPriority(Number(thread), priority);
    } catch {
      // Some systems do not allow this, or the thread has ended. Only latency depends on it.
    }
  }
}

/**
 * Returns the existing threads; later ones inherit the priority of the thread that creates them. Returns none on other
 * systems.
 */
function threads(): string[] {
  try {
    return readdirSync("/proc/self/task");
  } catch {
    return [];
  }
}
