import type { Budget } from "../../core/query/budget.ts";
import type { Work } from "../../core/query/work.ts";

/**
 * Long computations of all requests take turns on this process's event loop: between two rounds of it, which serve sockets and timers, one of
 * them runs for some milliseconds. So a short request waits for one slice at most, however many long ones run.
 */
const SLICE_MS = 4;

const waiting: (() => void)[] = [];
let pumping = false;

function pump(): void {
  const next = waiting.shift();
  if (next === undefined) {
    pumping = false;
    return;
  }
  setImmediate(pump);
  next();
}

/** Waits for a turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (pumping) return;
    pumping = true;
    setImmediate(pump);
  });
}

/** Runs work in slices, and counts its merges. Throws OverBudget. */
export async function inTurns<T>(work: Work<T>, budget: Budget | null): Promise<T> {
  let untilMs = performance.now() + SLICE_MS;
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    budget?.spend("merges", value);
    if (performance.now() < untilMs) continue;
    await turn();
    untilMs = performance.now() + SLICE_MS;
  }
}
