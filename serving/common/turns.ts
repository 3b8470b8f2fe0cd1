import { AsyncLocalStorage } from "node:async_hooks";
import type { Budget } from "../../core/query/budget.ts";
import type { Work } from "../../core/query/work.ts";

/**
 * The time that long computations have in one round of the event loop, all of them together. Sockets and timers are
 * served between two rounds. So a short request waits for one slice at most, however many long computations there are.
 */
const SLICE_MS = 4;

/** The time on the event loop that one request has used. */
interface Account {
  usedMs: number;
}

const accounts = new AsyncLocalStorage<Account>();

/**
 * Runs `begin`, and everything that follows from it, with an account of its own. A request that has used little time
 * then gets its turn before those that have used much. Work without an account counts as a request that has just begun.
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

/**
 * Removes the next one from the queue. Every other turn goes to the request that has used the least time, and the
 * others to the one that has waited longest. So every request gets a turn in the end.
 */
function takeNext(): Waiting | undefined {
  isForShortest = !isForShortest;
  if (!isForShortest) return waiting.shift();
  let index = 0;
  for (const [other, { usedMs }] of waiting.entries()) if (usedMs < (waiting[index] as Waiting).usedMs) index = other;
  return waiting.splice(index, 1)[0];
}

let pumping = false;
/** When the slice of the current round ends; null before any work has run in this round. */
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
 * Whether the slice of this round of the event loop is used up. If so, the next piece of work has to wait for a turn.
 */
export function isSliceOver(): boolean {
  return performance.now() >= sliceEndsMs();
}

function sliceEndsMs(): number {
  return endsMs ?? beginSlice();
}

/**
 * Runs work in slices, and counts its merges. Throws OverBudget. When nobody wants the result any more, throws the
 * reason for that.
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
