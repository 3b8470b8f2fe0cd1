import type { Clock } from "./clock.ts";

/** Sends something to Redis; resolves when Redis has replied to it. */
export type Write = () => Promise<unknown>;

/**
 * What a lane has sent to Redis and has no reply to yet.
 *
 * - What may overlap: the writes of one batch, one for each view, run at the same time, while the lane computes the
 *   next batch. A write of that begins when all writes of the batch before have ended, so Redis gets the batches of a
 *   view in the order of the log.
 * - What is bounded: the writes of one batch are on their way, and one more batch waits in `push`.
 * - An error is thrown by `push` and `settle`, by each call until `abandon`. Nothing is sent in between.
 * - `abandon` forgets errors, not writes: Redis may still take what was sent before. The next `push` and the next
 *   `settle` wait until that has ended, so no write from before runs beside one from afterwards.
 */
export class ApplyQueue {
  readonly #clock: Pick<Clock, "nowMs">;
  #underWay: Promise<unknown> = Promise.resolve();
  #confirmed = 0;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** How many batches Redis has taken, or refused with a named reply. Abandoned ones too: they were sent. */
  get confirmed(): number {
    return this.#confirmed;
  }

  /**
   * Begins the writes of one batch, each as soon as `writes` has it, and does not wait for their end. Returns how long
   * it waited for the batch before, in milliseconds. Throws the error of an earlier write, and what `writes` throws.
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

  /** Begins one more write when all that was sent has ended, if none of it failed. The next batch waits for it too. */
  afterwards(write: Write): void {
    this.#hold(this.#underWay.then(write));
  }

  /** Waits until everything that was sent has ended. Throws the error of a write that failed. */
  async settle(): Promise<void> {
    await this.#underWay;
  }

  /** Errors of what is on its way are nobody's any more: everything is looked up again. */
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
