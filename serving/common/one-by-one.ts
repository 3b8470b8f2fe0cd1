import { overloaded } from "./refusals.ts";

/** Does one piece of work after the other. Refuses more work when too many pieces wait. */
export class OneByOne {
  readonly #most: number;
  readonly #refusal: string;
  #last: Promise<unknown> = Promise.resolve();
  #taken = 0;

  /**
   * Takes at most `most` pieces at a time, including the running one. `refusal` is the error text when there are more.
   */
  constructor(most: number, refusal: string) {
    this.#most = most;
    this.#refusal = refusal;
  }

  /** Runs `work` after the pieces before it, and returns its result. Throws TOO_MANY_REQUESTS. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#most) return Promise.reject(overloaded(this.#refusal));
    this.#taken += 1;
    const made = this.#last.then(work).finally(() => {
      this.#taken -= 1;
    });
    this.#last = made.catch(() => {});
    return made;
  }

  /** Waits until all work is done. */
  async drain(): Promise<void> {
    await this.#last;
  }
}
