import { Waiters } from "./waiters.ts";

interface Entry<V> {
  readonly value: Promise<V>;
  isLoaded: boolean;
  weight: number;
  readonly waiters: Waiters;
}

/**
 * A cache of immutable values, bounded by weight (cells, not entries). The least recently used value is dropped first.
 * Callers that ask while a value is being loaded share the load. A failed load is forgotten. A load is given up when
 * all of its callers have left.
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

  /** Whether the value is loaded: `get` then returns it without waiting. */
  holds(key: string): boolean {
    return this.#entries.get(key)?.isLoaded === true;
  }

  /** Whether the value is loaded or being loaded. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /**
   * Returns the value, loading it if needed. `asker` is aborted when the caller no longer wants the value; null: it
   * always wants it. `load` gets a signal that is aborted when no caller wants the value.
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
    const waiters = new Waiters();
    const entry: Entry<V> = { value: load(waiters.left), isLoaded: false, weight: 0, waiters };
    this.#entries.set(key, entry);
    this.#wait(key, entry, asker);
    entry.value.then(
      (value) => this.#keep(key, entry, this.#weigh(value)),
      () => this.#drop(key, entry),
    );
    return entry.value;
  }

  #wait(key: string, entry: Entry<V>, asker: AbortSignal | null): void {
    // A caller that comes after all others have left starts a new load.
    entry.waiters.add(asker, entry.value, () => this.#drop(key, entry));
  }

  #keep(key: string, entry: Entry<V>, weight: number): void {
    if (this.#entries.get(key) !== entry) return;
    if (weight > this.#maxWeight) {
      this.#drop(key, entry);
      return;
    }
    entry.isLoaded = true;
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
