import { readdirSync } from "node:fs";
import { setPriority } from "node:os";

/**
 * How far a process stands behind the speed layer and the server, as nice values: where both want the same processor it
 * gets a third, a ninth and a thirtieth of what they get.
 */
const BEHIND = {
  /** Versions of views may be some seconds later; answers may not. */
  worker: 5,
  /** The server's process for large answers. */
  helper: 10,
  /** The worker's process for long work. */
  background: 15,
} as const;

/** Lowers the priority of this process, to be called when it begins: on Linux each thread has its own. */
export function standBehind(process: keyof typeof BEHIND): void {
  const priority = BEHIND[process];
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
