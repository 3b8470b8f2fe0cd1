interface Entry<V> {
  readonly value: Promise<V>;
  weight: number;
}

/**
 * Immutable things by key, the least recently used dropped first, bounded by weight (cells, not entries). Loads are
 * shared: whoever asks while a value is on its way waits for the same promise. A failed load is forgotten.
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

  get(key: string, load: () => Promise<V>): Promise<V> {
    const held = this.#entries.get(key);
    if (held !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, held);
      return held.value;
    }
    const entry: Entry<V> = { value: load(), weight: 0 };
    this.#entries.set(key, entry);
    entry.value.then(
      (value) => this.#settle(key, entry, this.#weigh(value)),
      () => this.#drop(key, entry),
    );
    return entry.value;
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
