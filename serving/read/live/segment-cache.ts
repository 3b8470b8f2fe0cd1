import type { View } from "../../../core/definition/view.ts";
import { cutToJson, type EpochMs } from "../../../core/log/position.ts";
import type { Work } from "../../../core/query/work.ts";
import type { Definition } from "../../../store/definitions/definitions.ts";
import type { Chain } from "../../../store/redis/chain.ts";
import type { ClosedSegment, SegmentCells } from "../../../store/redis/chain-state.ts";
import { inTurns } from "../../common/turns.ts";
import { type BucketTile, Tiler, tileWeight } from "../cells/tile-cells.ts";
import { Vanished } from "../cells/vanished.ts";
import { WeightedCache } from "../cells/weighted-cache.ts";
import type { RedisGate } from "./redis-gate.ts";

/** A closed segment in memory, its buckets ascending. */
export class SegmentTile {
  readonly lastBucket: EpochMs | null;
  readonly weight: number;
  readonly #buckets: readonly BucketTile[];

  private constructor(lastBucket: EpochMs | null, buckets: readonly BucketTile[]) {
    this.lastBucket = lastBucket;
    this.#buckets = buckets;
    this.weight = tileWeight(buckets);
  }

  static *of(view: View, { lastBucket, buckets }: SegmentCells): Work<SegmentTile> {
    const tiler = new Tiler(view);
    const tiles: BucketTile[] = [];
    for (const bucket of buckets) tiles.push(yield* tiler.tile(bucket));
    return new SegmentTile(
      lastBucket,
      tiles.sort((a, b) => a.bucket - b.bucket),
    );
  }

  /** The newest of its buckets that is not after `timeMs`. */
  lastUntil(timeMs: EpochMs): EpochMs | null {
    return this.#buckets[this.#firstFrom(timeMs + 1) - 1]?.bucket ?? null;
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

/** What a closed segment holds follows from its span and the log, whatever its id and whichever chain it is in. */
export function spanName({ from, to }: ClosedSegment): string {
  return JSON.stringify([cutToJson(from), cutToJson(to)]);
}

/** Closed segments by their spans: read from Redis once. */
export class SegmentCache {
  readonly #gate: RedisGate;
  readonly #tiles: WeightedCache<SegmentTile>;

  constructor(gate: RedisGate, maxCells: number) {
    this.#gate = gate;
    this.#tiles = new WeightedCache(maxCells, ({ weight }) => weight);
  }

  /** These segments of a chain. Throws Vanished when one is gone, RedisSilent when Redis does not answer. */
  all(chain: Chain, { view, generation }: Definition, segments: readonly ClosedSegment[]): Promise<SegmentTile[]> {
    return Promise.all(
      segments.map((segment) =>
        this.#tiles.get(`${generation} ${spanName(segment)}`, () => this.#load(chain, view, segment)),
      ),
    );
  }

  async #load(chain: Chain, view: View, segment: ClosedSegment): Promise<SegmentTile> {
    const cells = await this.#gate.ask(SEGMENT_TIMEOUT_MS, () => chain.segment(segment));
    if (cells === null) throw new Vanished("segment", `segment ${segment.id} is gone`);
    return inTurns(SegmentTile.of(view, cells), null);
  }
}
