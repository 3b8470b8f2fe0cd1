import { type ChildProcess, fork } from "node:child_process";
import { setPriority } from "node:os";

/** Below the roles: what people wait for is done first where both want the same processor. */
const PRIORITY = 10;

/** As this process was called, so that the new one runs the same code in the same way. */
const [, program = ""] = process.argv;

/**
 * Starts this program again with other arguments, as a child of low priority. Messages between the two may hold any
 * number.
 */
export function forkAtLowPriority(args: readonly string[]): ChildProcess {
  const child = fork(program, args, { serialization: "advanced" });
  try {
    // At once: the threads that it starts from now on have the same priority.
    if (child.pid !== undefined) setPriority(child.pid, PRIORITY);
  } catch {
    // Not every system allows it; nothing but latency depends on it.
  }
  return child;
}
