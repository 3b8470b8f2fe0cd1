import type { Clock } from "./clock.ts";

/** Sends something to Redis; resolves when Redis has replied to it. */
export type Write = () => Promise<unknown>;

/**
 * The writes that a lane has sent to Redis and has no reply to yet.
 *
 * - Overlap: the writes of one batch, one for each view, run at the same time, while the lane computes the next batch.
 *   A write of the next batch begins when all writes of the batch before have ended, so Redis gets the batches of a
 *   view in the order of the log.
 * - Bound: the writes of one batch are on their way, and one more batch waits in `push`.
 * - Errors: after a write has failed, each call of `push` and `settle` throws its error until `abandon` is called.
 *   Nothing is sent in between.
 * - `abandon` forgets errors, not writes: Redis may still take what was sent before. The next `push` and the next
 *   `settle` wait until those writes have ended, so no earlier write runs at the same time as a later one.
 */
export class ApplyQueue {
  readonly #clock: Pick<Clock, "nowMs">;
  #underWay: Promise<unknown> = Promise.resolve();
  #confirmed = 0;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /**
   * The number of batches that Redis has applied or refused with a named reply. Abandoned batches count too: they were
   * sent.
   */
  get confirmed(): number {
    return this.#confirmed;
  }

  /**
   * Begins the writes of one batch, each as soon as `writes` yields it, and does not wait for their end. Returns how
   * many milliseconds it waited for the batch before. Throws the error of an earlier write, and errors of `writes`.
   */
  async push(writes: AsyncIterable<Write>): Promise<number> {
    const before = this.#underWay;
    let [waitedMs, sent] = [0, false];
    for await (const write of writes) {
      const readyMs = this.#clock.nowMs();
      await before;
      waitedMs += this.#clock.nowMs() - readyMs;
      this.#hold(bothEnded(this.#underWay, write()));
      sent = true;
    }
    const confirm = () => {
      this.#confirmed += 1;
    };
    if (sent) this.#underWay.then(confirm, () => undefined);
    return waitedMs;
  }

  /**
   * Begins one more write when everything that was sent has ended without an error. The next batch waits for it too.
   */
  afterwards(write: Write): void {
    this.#hold(this.#underWay.then(write));
  }

  /** Waits until everything that was sent has ended. Throws the error of a write that failed. */
  async settle(): Promise<void> {
    await this.#underWay;
  }

  /** Forgets the errors of the writes under way. The caller reads all state from Redis again. */
  abandon(): void {
    this.#hold(this.#underWay.catch(() => undefined));
  }

  #hold(underWay: Promise<unknown>): void {
    this.#underWay = underWay;
    // Avoid an unhandled rejection: the error is seen where the promise is awaited.
    underWay.catch(() => undefined);
  }
}

/** Ends when both have ended, with the first error. */
async function bothEnded(first: Promise<unknown>, second: Promise<unknown>): Promise<void> {
  for (const outcome of await Promise.allSettled([first, second]))
    if (outcome.status === "rejected") throw outcome.reason;
}
