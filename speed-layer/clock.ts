import { setTimeout as delay } from "node:timers/promises";
import type { EpochMs } from "../core/position.ts";

/** Time as a lane knows it. It decides when something is tried again, and never what is counted. */
export interface Clock {
  nowMs(): EpochMs;
  wait(durationMs: number): Promise<void>;
}

export const WALL_CLOCK: Clock = { nowMs: () => Date.now(), wait: (durationMs) => delay(durationMs) };
