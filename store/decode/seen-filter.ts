import type { KeptStatements } from "../duckdb/kept-statements.ts";

/**
 * The number of bits for each id. Each id sets two of them, so about one new id in seventy is taken for a known one.
 */
const BITS_PER_ID = 16;
const LEAST_SLOTS = 2 ** 20;
const MOST_SLOTS = 2 ** 26;
/** The number of small batches in a row after which reading all ids into the filter is worth its cost. */
const SMALL_IN_A_ROW = 20;

/**
 * Finds out that no id of a small batch is in the table `seen`, without reading the table: a Bloom filter over the
 * hashes of its ids. That is the case for nearly every batch. Otherwise the table has to be read. Every hash that is
 * put into `seen` must be added here, or the filter dropped. Hashes that left the table may stay in the filter.
 */
export class SeenFilter {
  readonly #statements: KeptStatements;
  /** Null: the table has ids that the filter does not know. */
  #bits: Uint8Array | null = new Uint8Array(LEAST_SLOTS / 8);
  #slots = LEAST_SLOTS;
  #added = 0;
  #smallInARow = 0;

  constructor(statements: KeptStatements) {
    this.#statements = statements;
  }

  /** Drops the filter. Call it when ids are put into the table without being added here. */
  drop(): void {
    this.#bits = null;
    this.#smallInARow = 0;
  }

  /**
   * Whether an id of a small batch may be in the table, or twice in the batch, by the hashes of its ids. Adds the
   * hashes. Call it before the ids are put into the table.
   */
  async mayRepeat(hashes: readonly bigint[]): Promise<boolean> {
    this.#smallInARow += 1;
    if (this.#bits === null && this.#smallInARow >= SMALL_IN_A_ROW) await this.#load();
    const bits = this.#bits;
    if (bits === null) return true;
    let repeats = new Set(hashes).size < hashes.length;
    for (const hash of hashes) if (this.#has(bits, hash)) repeats = true;
    for (const hash of hashes) this.#add(bits, slotsOf(hash));
    // A filter that is too full answers "maybe" too often.
    if (this.#added * BITS_PER_ID > this.#slots && this.#slots < MOST_SLOTS) this.drop();
    return repeats;
  }

  async #load(): Promise<void> {
    const [[ids] = []] = await this.#statements.rows("SELECT count(_hash) FROM seen");
    let slots = LEAST_SLOTS;
    // Leave room for as many ids again.
    while (slots < MOST_SLOTS && slots < 2 * Number(ids) * BITS_PER_ID) slots *= 2;
    [this.#slots, this.#added] = [slots, 0];
    const bits = new Uint8Array(slots / 8);
    const halves = "SELECT (_hash >> 32)::UINTEGER, (_hash & 4294967295)::UINTEGER FROM seen WHERE _hash IS NOT NULL";
    for (const [highs = [], lows = []] of await this.#statements.columns(halves))
      for (const [row, high] of highs.entries()) this.#add(bits, [Number(high), Number(lows[row])]);
    this.#bits = bits;
  }

  #has(bits: Uint8Array, hash: bigint): boolean {
    return slotsOf(hash).every((slot) => ((bits[(slot % this.#slots) >> 3] as number) & (1 << (slot & 7))) !== 0);
  }

  #add(bits: Uint8Array, slots: readonly [number, number]): void {
    for (const slot of slots)
      bits[(slot % this.#slots) >> 3] = (bits[(slot % this.#slots) >> 3] as number) | (1 << (slot & 7));
    this.#added += 1;
  }
}

/** Returns the two halves of a hash. */
function slotsOf(hash: bigint): readonly [number, number] {
  return [Number(hash >> 32n), Number(hash & 0xffff_ffffn)];
}
