/** Those who wait for one thing that is on its way. It is given up when the last of them has left. */
export class Waiters {
  readonly #left = new AbortController();
  #waiting = 0;

  /** Aborted when all have left who waited, with the reason of the last one. */
  get left(): AbortSignal {
    return this.#left.signal;
  }

  /**
   * Adds one who waits until `made` is settled. `asker` is aborted when that one leaves; null: it never does. `onLeft`
   * is called when the last one has left, before `left` is aborted.
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
