import type { Budget } from "../../core/query/budget.ts";
import type { Work } from "../../core/query/work.ts";

/**
 * Long computations of all requests take turns on this process's event loop: in each round of it, which serves sockets
 * and timers, all of them together run for some milliseconds. So a short request waits for one slice at most, however
 * many long ones run.
 */
const SLICE_MS = 4;

const waiting: (() => void)[] = [];
let pumping = false;
/** When the slice of this round of the event loop ends; null before anything has run in it. */
let endsMs: number | null = null;
let round = 0;

function beginSlice(): number {
  round += 1;
  const begun = round;
  endsMs = performance.now() + SLICE_MS;
  setImmediate(() => {
    if (round === begun) endsMs = null;
  });
  return endsMs;
}

function pump(): void {
  const next = waiting.shift();
  if (next === undefined) {
    pumping = false;
    return;
  }
  setImmediate(pump);
  beginSlice();
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

/**
 * Whether what ran in this round of the event loop has used its slice: the next piece of work has to wait for a turn.
 */
export function isSliceOver(): boolean {
  return performance.now() >= sliceEndsMs();
}

function sliceEndsMs(): number {
  return endsMs ?? beginSlice();
}

/**
 * Runs work in slices, and counts its merges. Throws OverBudget, and when nobody wants the result any more why that is
 * so.
 */
export async function inTurns<T>(work: Work<T>, budget: Budget | null): Promise<T> {
  for (;;) {
    if (isSliceOver()) await turn();
    budget?.requireWanted();
    const untilMs = sliceEndsMs();
    do {
      const { done, value } = work.next();
      if (done) return value;
      budget?.spend("merges", value);
    } while (performance.now() < untilMs);
  }
}
