import { overloaded } from "./refusals.ts";

/**
 * A place that one piece of work has at a time. Others wait for it in order, and leave the queue when their signal is
 * aborted.
 */
export class Place {
  readonly #maxWaiting: number;
  readonly #waiting = new Set<() => void>();
  #isTaken = false;

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
  }

  get isFree(): boolean {
    return !this.#isTaken;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether one more would be refused. */
  get isFull(): boolean {
    return this.#isTaken && this.#waiting.size >= this.#maxWaiting;
  }

  /**
   * Runs work when the place is free. Rejects with TOO_MANY_REQUESTS when too many wait, with the
   * signal's reason once it is aborted.
   */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.isFull) throw overloaded("too many large questions are waiting");
    if (this.#isTaken) await this.#wait(signal);
    this.#isTaken = true;
    try {
      return await work();
    } finally {
      this.#give();
    }
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const resume = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.delete(resume);
        reject(signal.reason);
      };
      this.#waiting.add(resume);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** Gives the place to the piece of work that has waited longest. */
  #give(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#isTaken = false;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
