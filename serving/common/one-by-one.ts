import { overloaded } from "./refusals.ts";

/** Does one piece of work after the other. Those that wait are refused when there are too many. */
export class OneByOne {
  readonly #most: number;
  readonly #refusal: string;
  #last: Promise<unknown> = Promise.resolve();
  #taken = 0;

  /** Takes `most` pieces at a time, the one that is done included; `refusal` says that there are too many. */
  constructor(most: number, refusal: string) {
    this.#most = most;
    this.#refusal = refusal;
  }

  /** What `work` returns, once those before it are done. Throws TOO_MANY_REQUESTS. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#most) return Promise.reject(overloaded(this.#refusal));
    this.#taken += 1;
    const made = this.#last.then(work).finally(() => {
      this.#taken -= 1;
    });
    this.#last = made.catch(() => {});
    return made;
  }

  /** Waits until all that was taken is done. */
  async drain(): Promise<void> {
    await this.#last;
  }
}
