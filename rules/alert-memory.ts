/** The number of ids remembered of one stream. They take some tens of megabytes. */
const MOST = 100_000;

/**
 * The ids of alerts that were written. A repeat of one of them is not written again. A repeat of an id that was
 * forgotten is written, and is then a duplicate in the stream of alerts.
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

  /** Remembers these ids. Above the limit, forgets the oldest ones first. */
  add(ids: Iterable<string>): void {
    for (const id of ids) this.#ids.add(id);
    for (const oldest of this.#ids) {
      if (this.#ids.size <= this.#most) return;
      this.#ids.delete(oldest);
    }
  }
}
