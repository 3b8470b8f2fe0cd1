import type { View } from "../../../core/definition/view.ts";
import { cutsEqual, cutText, type EpochMs } from "../../../core/log/position.ts";
import type { Work } from "../../../core/query/work.ts";
import type { Definition } from "../../../store/definitions/definitions.ts";
import type { Chain } from "../../../store/redis/chain.ts";
import {
  type ClosedSegment,
  type KeyedPart,
  type SegmentCells,
  splitCellField,
} from "../../../store/redis/chain-state.ts";
import { liveStateUnreadable } from "../../../store/redis/unreadable-state.ts";
import { inTurns } from "../../common/turns.ts";
import { type StoredTile, Tiler, tileWeight } from "../cells/tile-cells.ts";
import { Vanished } from "../cells/vanished.ts";
import { WeightedCache } from "../cells/weighted-cache.ts";
import type { RedisGate } from "./redis-gate.ts";
import type { SizedSegment } from "./view-status.ts";

/** A closed segment in memory, its buckets ascending. */
export class SegmentTile {
  readonly lastBucket: EpochMs | null;
  readonly weight: number;
  readonly #buckets: readonly StoredTile[];

  private constructor(lastBucket: EpochMs | null, buckets: readonly StoredTile[]) {
    this.lastBucket = lastBucket;
    this.#buckets = buckets;
    this.weight = tileWeight(buckets);
  }

  static *of(view: View, { lastBucket, buckets }: SegmentCells): Work<SegmentTile> {
    const tiler = new Tiler(view);
    const tiles: StoredTile[] = [];
    for (const bucket of buckets) tiles.push(yield* tiler.tile(bucket));
    return new SegmentTile(
      lastBucket,
      tiles.sort((a, b) => a.bucket - b.bucket),
    );
  }

  /** Returns the newest of its buckets that does not start after `timeMs`. */
  lastUntil(timeMs: EpochMs): EpochMs | null {
    return this.#buckets[this.#firstFrom(timeMs + 1) - 1]?.bucket ?? null;
  }

  /** Returns its buckets in `[fromMs, toMs)`. */
  within(fromMs: EpochMs, toMs: EpochMs): readonly StoredTile[] {
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

/** Reading a whole segment takes many commands, but happens once. */
const SEGMENT_TIMEOUT_MS = 5_000;

/** A segment of at most this many cells is read whole: that takes milliseconds, and serves every other query. */
const SMALL_CELLS = 10_000;

/** The most fields that one Lua script looks up in Redis: more would keep every other client waiting. */
const MOST_LOOK_UPS = 10_000;

/** The weight of a partly read segment in the cache, beside its cells. */
const KEYED_WEIGHT = 8;

/**
 * Returns the cache key of a closed segment. Its contents follow from its span and the log, so its id and chain do not
 * matter.
 */
export function spanName(segment: ClosedSegment): string {
  const known = spanNames.get(segment);
  if (known !== undefined) return known;
  const name = `${cutText(segment.from)} ${cutText(segment.to)}`;
  spanNames.set(segment, name);
  return name;
}

const spanNames = new WeakMap<ClosedSegment, string>();

function tileName(generation: string, segment: ClosedSegment): string {
  return `${generation} ${spanName(segment)}`;
}

/** Returns several segments that together have the span of `segment`; null if there are none. */
function tilesOfSpan(segments: readonly ClosedSegment[], { from, to }: ClosedSegment): readonly ClosedSegment[] | null {
  const first = segments.findIndex((one) => cutsEqual(one.from, from));
  for (let at = first; at >= 0 && at < segments.length; at++) {
    const [one, next] = [segments[at] as ClosedSegment, segments[at + 1]];
    if (cutsEqual(one.to, to)) return at === first ? null : segments.slice(first, at + 1);
    if (next !== undefined && !cutsEqual(one.to, next.from)) return null;
  }
  return null;
}

/** How many lookups a script makes in a bucket: one for each field, and one for the row of each group. */
function lookUpsOf({ fields }: KeyedPart): number {
  return fields.length + new Set(fields.map((field) => splitCellField(field).group)).size;
}

/**
 * A compacted segment is replaced by at most this many cached segments for long. If there are more, the compacted
 * segment is also read in the background.
 */
const MOST_PIECES = 64;

/**
 * Caches closed segments by their spans, so that each is read from Redis once. A segment that was compacted from cached
 * segments need not be read: together they have the same contents.
 */
export class SegmentCache {
  readonly #gate: RedisGate;
  readonly #tiles: WeightedCache<SegmentTile>;
  /** For each generation, the segments that were last returned, in the order of the log. */
  readonly #newest = new Map<string, readonly ClosedSegment[]>();
  /** Segments of which only some fields were read. */
  readonly #keyed: WeightedCache<SegmentTile>;

  constructor(gate: RedisGate, maxCells: number) {
    this.#gate = gate;
    this.#tiles = new WeightedCache(maxCells, ({ weight }) => weight);
    this.#keyed = new WeightedCache(maxCells / 10, ({ weight }) => KEYED_WEIGHT + weight);
  }

  /**
   * Returns the tiles of these segments. Throws Vanished when one is gone, RedisSilent when Redis does not answer,
   * LIVE_STATE_UNREADABLE when a segment cannot be read.
   */
  all(chain: Chain, definition: Definition, segments: readonly ClosedSegment[]): Promise<SegmentTile[]> {
    const pieces = this.#pieces(chain, definition, segments);
    this.#newest.set(definition.generation, pieces);
    return Promise.all(pieces.map((segment) => this.#whole(chain, definition, segment)));
  }

  /**
   * Returns the segments to read. A segment that is not cached is replaced by the cached ones that it was compacted
   * from.
   */
  #pieces(chain: Chain, definition: Definition, segments: readonly ClosedSegment[]): readonly ClosedSegment[] {
    const { generation } = definition;
    const newest = this.#newest.get(generation) ?? [];
    const isHeld = (segment: ClosedSegment) => this.#tiles.holds(tileName(generation, segment));
    return segments.flatMap((segment) => {
      const pieces = isHeld(segment) ? null : tilesOfSpan(newest, segment);
      if (pieces === null || !pieces.every(isHeld)) return [segment];
      if (pieces.length > MOST_PIECES) this.#whole(chain, definition, segment).catch(() => undefined);
      return pieces;
    });
  }

  #whole(chain: Chain, definition: Definition, segment: ClosedSegment): Promise<SegmentTile> {
    return this.#tiles.get(tileName(definition.generation, segment), () => this.#load(chain, definition, segment));
  }

  /**
   * Returns the tiles of these segments. If those that are not cached are large, only `part` of them is read, so that
   * their tiles lack all other cells and buckets. Throws as `all`.
   */
  async keyed(
    chain: Chain,
    definition: Definition,
    segments: readonly SizedSegment[],
    part: KeyedPart,
  ): Promise<readonly SegmentTile[]> {
    const { view, generation } = definition;
    const pieces = this.#pieces(chain, definition, segments);
    const missing = segments.filter(
      (segment) => pieces.includes(segment) && !this.#tiles.has(tileName(generation, segment)),
    );
    const cells = missing.reduce((sum, segment) => sum + (segment.cells ?? 0), 0);
    const lookUps = missing.length * ((part.toMs - part.fromMs) / view.grainMs) * lookUpsOf(part);
    if (cells <= SMALL_CELLS || lookUps > MOST_LOOK_UPS) return this.all(chain, definition, segments);
    const asked = [part.fromMs, part.toMs, ...part.fields].join("\n");
    const nameOf = (segment: ClosedSegment) => `${tileName(generation, segment)}\n${asked}`;
    const unread = missing.filter((segment) => !this.#keyed.has(nameOf(segment)));
    const read = unread.length === 0 ? null : this.#loadPart(chain, definition, unread, part);
    return Promise.all(
      pieces.map((segment) =>
        missing.some((one) => one === segment)
          ? this.#keyed.get(nameOf(segment), async () => (await read)?.get(segment) as SegmentTile)
          : this.#whole(chain, definition, segment),
      ),
    );
  }

  async #loadPart(
    chain: Chain,
    definition: Definition,
    segments: readonly ClosedSegment[],
    part: KeyedPart,
  ): Promise<ReadonlyMap<ClosedSegment, SegmentTile>> {
    const found = await this.#gate.ask(SEGMENT_TIMEOUT_MS, () => chain.keyed(segments, part));
    if (found === null) throw new Vanished("segment", `one of ${segments.length} segments is gone`);
    const tiles = new Map<ClosedSegment, SegmentTile>();
    for (const [index, segment] of segments.entries())
      tiles.set(segment, await tileOf(definition, { lastBucket: null, buckets: found[index] ?? [] }));
    return tiles;
  }

  async #load(chain: Chain, definition: Definition, segment: ClosedSegment): Promise<SegmentTile> {
    const cells = await this.#gate.ask(SEGMENT_TIMEOUT_MS, () => chain.segment(segment));
    if (cells === null) throw new Vanished("segment", `segment ${segment.id} is gone`);
    return tileOf(definition, cells);
  }
}

async function tileOf({ view, generation }: Definition, cells: SegmentCells): Promise<SegmentTile> {
  try {
    return await inTurns(SegmentTile.of(view, cells), null);
  } catch (error) {
    throw liveStateUnreadable(generation, error);
  }
}
