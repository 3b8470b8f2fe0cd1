const MINUTE_MS = 60_000;
const MOST_A_MINUTE = 60;

/** The refusals without a line in the audit log. */
export interface LeftOut {
  readonly refusals: number;
  /** The time from the first of these refusals to the end, in milliseconds. */
  readonly withinMs: number;
}

/**
 * Decides which refusals of requests without a known key get a line in the audit log: the first 60 of a minute. Anybody
 * can send such requests, so a line for each would let anybody fill the disk. The other refusals are counted.
 */
export class RefusalCounter {
  #fromMs = Number.NEGATIVE_INFINITY;
  #count = 0;

  /** Counts a refusal at `nowMs`, on a monotonic clock. Returns whether it gets a line. Call `over` first. */
  take(nowMs: number): boolean {
    if (this.#count === 0) this.#fromMs = nowMs;
    this.#count += 1;
    return this.#count <= MOST_A_MINUTE;
  }

  /** Begins a new minute if the last one is over. Returns the refusals without a line in the old one; null if none. */
  over(nowMs: number): LeftOut | null {
    const withinMs = nowMs - this.#fromMs;
    if (this.#count === 0 || withinMs < MINUTE_MS) return null;
    return this.end(nowMs);
  }

  /** Ends the current minute. Returns the refusals without a line in it; null if there were none. */
  end(nowMs: number): LeftOut | null {
    const refusals = this.#count - MOST_A_MINUTE;
    this.#count = 0;
    return refusals > 0 ? { refusals, withinMs: Math.round(nowMs - this.#fromMs) } : null;
  }
}
