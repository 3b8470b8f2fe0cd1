interface Entry<V> {
  readonly value: Promise<V>;
  weight: number;
  /** How many wait for it; infinite when somebody does who never leaves. */
  waiting: number;
  /** Aborted when all have left who waited for it. */
  readonly left: AbortController;
}

/**
 * Immutable things by key, the least recently used dropped first, bounded by weight (cells, not entries). Loads are
 * shared: whoever asks while a value is on its way waits for the same promise. A failed load is forgotten. A load is
 * given up when all have left who waited for it.
 */
export class WeightedCache<V> {
  readonly #entries = new Map<string, Entry<V>>();
  readonly #maxWeight: number;
  readonly #weigh: (value: V) => number;
  #weight = 0;

  constructor(maxWeight: number, weigh: (value: V) => number) {
    this.#maxWeight = maxWeight;
    this.#weigh = weigh;
  }

  get weight(): number {
    return this.#weight;
  }

  /** Whether it holds the value, or is loading it. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /**
   * `asker` is aborted when who asks no longer wants the value; null: it is wanted in any case. `load` is told when
   * nobody wants it.
   */
  get(key: string, load: (left: AbortSignal) => Promise<V>, asker: AbortSignal | null = null): Promise<V> {
    if (asker?.aborted === true) return Promise.reject(asker.reason);
    const held = this.#entries.get(key);
    if (held !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, held);
      this.#wait(key, held, asker);
      return held.value;
    }
    const left = new AbortController();
    const entry: Entry<V> = { value: load(left.signal), weight: 0, waiting: 0, left };
    this.#entries.set(key, entry);
    this.#wait(key, entry, asker);
    entry.value.then(
      (value) => this.#settle(key, entry, this.#weigh(value)),
      () => this.#drop(key, entry),
    );
    return entry.value;
  }

  #wait(key: string, entry: Entry<V>, asker: AbortSignal | null): void {
    if (asker === null) {
      entry.waiting = Number.POSITIVE_INFINITY;
      return;
    }
    entry.waiting += 1;
    const leave = () => {
      entry.waiting -= 1;
      if (entry.waiting > 0) return;
      // Who asks from now on has it loaded again.
      this.#drop(key, entry);
      entry.left.abort(asker.reason);
    };
    asker.addEventListener("abort", leave, { once: true });
    const arrived = () => asker.removeEventListener("abort", leave);
    entry.value.then(arrived, arrived);
  }

  #settle(key: string, entry: Entry<V>, weight: number): void {
    if (this.#entries.get(key) !== entry) return;
    if (weight > this.#maxWeight) {
      this.#drop(key, entry);
      return;
    }
    entry.weight = weight;
    this.#weight += weight;
    for (const [oldest, candidate] of this.#entries) {
      if (this.#weight <= this.#maxWeight) return;
      if (candidate !== entry) this.#drop(oldest, candidate);
    }
  }

  #drop(key: string, entry: Entry<V>): void {
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    this.#weight -= entry.weight;
  }
}
