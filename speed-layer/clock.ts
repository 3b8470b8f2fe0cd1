import { setTimeout as delay } from "node:timers/promises";

/**
 * Time as a lane knows it, in milliseconds from any beginning. It decides when something is tried again, and never what
 * is counted.
 */
export interface Clock {
  nowMs(): number;
  /** Ends early when `signal` is aborted. */
  wait(durationMs: number, signal?: AbortSignal): Promise<void>;
}

/** Not the wall clock: that can be set, and a view that stopped while it was ahead would stand still for as long. */
export const STEADY_CLOCK: Clock = {
  nowMs: () => performance.now(),
  // It rejects only when the signal is aborted.
  wait: (durationMs, signal) => delay(durationMs, undefined, { signal }).catch(() => undefined),
};
