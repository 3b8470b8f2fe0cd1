import type { EpochMs } from "../core/position.ts";
import type { View } from "../core/view.ts";
import type { Chain } from "../store/chain.ts";
import type { SegmentCells } from "../store/chain-state.ts";
import type { Definition } from "../store/definitions.ts";
import type { RedisGate } from "./redis-gate.ts";
import { type BucketTile, bucketTile, tileWeight } from "./tile-cells.ts";
import { Vanished } from "./vanished.ts";
import { WeightedCache } from "./weighted-cache.ts";

/** A closed segment in memory, its buckets ascending. */
export class SegmentTile {
  readonly lastBucket: EpochMs | null;
  readonly weight: number;
  readonly #buckets: readonly BucketTile[];

  constructor(view: View, { lastBucket, buckets }: SegmentCells) {
    this.lastBucket = lastBucket;
    this.#buckets = buckets.map((bucket) => bucketTile(view, bucket)).sort((a, b) => a.bucket - b.bucket);
    this.weight = tileWeight(this.#buckets);
  }

  /** Its buckets in `[fromMs, toMs)`. */
  within(fromMs: EpochMs, toMs: EpochMs): readonly BucketTile[] {
    return this.#buckets.slice(this.#firstFrom(fromMs), this.#firstFrom(toMs));
  }

  #firstFrom(timeMs: EpochMs): number {
    let [low, high] = [0, this.#buckets.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#buckets[middle]?.bucket ?? 0) < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** A whole segment is many commands; it is read once. */
const SEGMENT_TIMEOUT_MS = 5_000;

/** Closed segments by (nonce, id): immutable, so they are read from Redis once. */
export class SegmentCache {
  readonly #gate: RedisGate;
  readonly #tiles: WeightedCache<SegmentTile>;

  constructor(gate: RedisGate, maxCells: number) {
    this.#gate = gate;
    this.#tiles = new WeightedCache(maxCells, ({ weight }) => weight);
  }

  /** The segments of the chain that has this nonce. Throws Vanished when one is gone, RedisSilent when Redis does not answer. */
  all(chain: Chain, { view, generation }: Definition, nonce: string, ids: readonly string[]): Promise<SegmentTile[]> {
    return Promise.all(
      ids.map((id) => this.#tiles.get(`${generation} ${nonce} ${id}`, () => this.#load(chain, view, nonce, id))),
    );
  }

  async #load(chain: Chain, view: View, nonce: string, id: string): Promise<SegmentTile> {
    const cells = await this.#gate.ask(SEGMENT_TIMEOUT_MS, () => chain.segment(id));
    // Ids begin anew in a Redis that was lost: the segment counts only if the chain is still the one that was asked for.
    const state = await this.#gate.ask(SEGMENT_TIMEOUT_MS, () => chain.load());
    if (cells === null || state?.nonce !== nonce) throw new Vanished("segment", id);
    return new SegmentTile(view, cells);
  }
}
