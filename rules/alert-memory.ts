/** This many ids are remembered of a stream: some tens of megabytes. */
const MOST = 100_000;

/**
 * Ids of alerts that were written. A repeat of one of them is not written again; of any other it is, and is a duplicate
 * in the stream of alerts.
 */
export class AlertMemory {
  readonly #ids = new Set<string>();
  readonly #most: number;

  constructor(most = MOST) {
    this.#most = most;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /** What was remembered first goes first. */
  add(ids: Iterable<string>): void {
    for (const id of ids) this.#ids.add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= this.#most) return;
      this.#ids.delete(oldest);
    }
  }
}
