/** The callers that wait for one result. The work is given up when the last of them has left. */
export class Waiters {
  readonly #left = new AbortController();
  #waiting = 0;

  /** Aborted when all waiting callers have left, with the reason of the last one. */
  get left(): AbortSignal {
    return this.#left.signal;
  }

  /**
   * Adds a caller that waits until `made` is settled. `asker` is aborted when the caller leaves; null: it never leaves.
   * `onLeft` is called when the last caller has left, before `left` is aborted.
   */
  add(asker: AbortSignal | null, made: Promise<unknown>, onLeft: () => void): void {
    if (asker === null) {
      this.#waiting = Number.POSITIVE_INFINITY;
      return;
    }
    this.#waiting += 1;
    const leave = () => {
      this.#waiting -= 1;
      if (this.#waiting > 0) return;
      onLeft();
      this.#left.abort(asker.reason);
    };
    asker.addEventListener("abort", leave, { once: true });
    const arrived = () => asker.removeEventListener("abort", leave);
    made.then(arrived, arrived);
  }
}
