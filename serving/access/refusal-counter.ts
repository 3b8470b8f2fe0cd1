const MINUTE_MS = 60_000;
const MOST_A_MINUTE = 60;

/** Refusals that the audit log has no line for. */
export interface LeftOut {
  readonly refusals: number;
  /** For how long they came, in milliseconds. */
  readonly withinMs: number;
}

/**
 * Decides which refusals of requests without a known key the audit log has a line for: the first 60 of a minute.
 * Anybody can send such requests, so a line for each would let anybody fill the disk. The others are counted.
 */
export class RefusalCounter {
  #fromMs = Number.NEGATIVE_INFINITY;
  #count = 0;

  /** Takes a refusal at `nowMs`, by a monotonic clock. Returns whether it has a line. Call `over` before. */
  take(nowMs: number): boolean {
    if (this.#count === 0) this.#fromMs = nowMs;
    this.#count += 1;
    return this.#count <= MOST_A_MINUTE;
  }

  /** Begins another minute when the last one is over. Returns what was left out in it; null for nothing. */
  over(nowMs: number): LeftOut | null {
    const withinMs = nowMs - this.#fromMs;
    if (this.#count === 0 || withinMs < MINUTE_MS) return null;
    return this.end(nowMs);
  }

  /** Ends the minute under way. Returns what was left out in it; null for nothing. */
  end(nowMs: number): LeftOut | null {
    const refusals = this.#count - MOST_A_MINUTE;
    this.#count = 0;
    return refusals > 0 ? { refusals, withinMs: Math.round(nowMs - this.#fromMs) } : null;
  }
}
