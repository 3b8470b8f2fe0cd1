import { setTimeout as delay } from "node:timers/promises";

/**
 * The time that a lane uses, in milliseconds from an arbitrary beginning. It decides when something is tried again, and
 * never what is counted.
 */
export interface Clock {
  nowMs(): number;
  /** Waits this long, or until `signal` is aborted. */
  wait(durationMs: number, signal?: AbortSignal): Promise<void>;
}

/**
 * A clock that is never set. The wall clock can be set back, and a view that was stopped before that would stay
 * stopped for that long.
 */
export const STEADY_CLOCK: Clock = {
  nowMs: () => performance.now(),
  // It rejects only when the signal is aborted.
  wait: (durationMs, signal) => delay(durationMs, undefined, { signal }).catch(() => undefined),
};
