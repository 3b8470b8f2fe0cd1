import { AsyncLocalStorage } from "node:async_hooks";
import type { Budget } from "../../core/query/budget.ts";
import type { Work } from "../../core/query/work.ts";

/**
 * Long computations of all requests take turns on this process's event loop: in each round of it, which serves sockets
 * and timers, all of them together run for some milliseconds. So a short request waits for one slice at most, however
 * many long ones run.
 */
const SLICE_MS = 4;

/** What the computations of one request have had of the event loop. */
interface Account {
  usedMs: number;
}

const accounts = new AsyncLocalStorage<Account>();

/**
 * Runs `begin` and all that follows from it with an account of its own: a request that has had little time then passes
 * those that have had much. Work without an account counts as that of a request that has just begun.
 */
export function withAccount(begin: () => void): void {
  accounts.run({ usedMs: 0 }, begin);
}

interface Waiting {
  readonly resume: () => void;
  readonly usedMs: number;
}

const waiting: Waiting[] = [];
let isForShortest = false;

/** Every other turn is for who has had the least time, the others for who has waited longest: nobody waits for ever. */
function takeNext(): Waiting | undefined {
  isForShortest = !isForShortest;
  if (!isForShortest) return waiting.shift();
  let index = 0;
  for (const [other, { usedMs }] of waiting.entries()) if (usedMs < (waiting[index] as Waiting).usedMs) index = other;
  return waiting.splice(index, 1)[0];
}

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
  const next = takeNext();
  if (next === undefined) {
    pumping = false;
    return;
  }
  setImmediate(pump);
  beginSlice();
  next.resume();
}

/** Waits for a turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push({ resume: resolve, usedMs: accounts.getStore()?.usedMs ?? 0 });
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
  const account = accounts.getStore();
  for (;;) {
    if (isSliceOver()) await turn();
    budget?.requireWanted();
    const beganMs = performance.now();
    const untilMs = sliceEndsMs();
    try {
      do {
        const { done, value } = work.next();
        if (done) return value;
        budget?.spend("merges", value);
      } while (performance.now() < untilMs);
    } finally {
      if (account !== undefined) account.usedMs += performance.now() - beganMs;
    }
  }
}
