import { setTimeout as delay } from "node:timers/promises";

/**
 * Time as a lane knows it, in milliseconds from any beginning. It decides when something is tried again, and never what
 * is counted.
 */
export interface Clock {
  nowMs(): number;
  wait(durationMs: number): Promise<void>;
}

/** Not the wall clock: that can be set, and a view that stopped while it was ahead would stand still for as long. */
export const STEADY_CLOCK: Clock = { nowMs: () => performance.now(), wait: (durationMs) => delay(durationMs) };
