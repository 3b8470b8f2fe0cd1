import type { View } from "../../core/definition/view.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { Manifest } from "../../core/log/documents.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { gapOf, type NewestBuckets, type Query, readRange, windowOf } from "../../core/query/query.ts";
import { bucketOf, LAST_INSTANT } from "../../core/time.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { ChainState } from "../../store/redis/chain-state.ts";
import type { Missing } from "../common/missing.ts";
import type { BatchStates } from "./batch/batch-states.ts";
import { Vanished } from "./cells/vanished.ts";
import type { LiveRead } from "./live/live-reads.ts";
import { type SegmentCache, type SegmentTile, spanName } from "./live/segment-cache.ts";
import { type Joined, join, NO_CHAIN, type SizedSegment, type ViewStatuses } from "./live/view-status.ts";
import { needsOf } from "./needs.ts";
import type { Live, ReadAnswer, Tiles, Window } from "./reading.ts";

export interface TileSources {
  readonly statuses: ViewStatuses;
  readonly batch: BatchStates;
  readonly segments: SegmentCache;
}

/** The tiles that the newest buckets are looked for in. `open` is null if there is no open segment. */
interface Newest {
  readonly manifest: Manifest;
  readonly closed: readonly SegmentTile[];
  readonly open: LiveRead | null;
  readonly nowMs: EpochMs;
}

/** Finds the tiles that the newest answer of a view is made of. */
export class AnswerTiles {
  readonly #statuses: ViewStatuses;
  readonly #batch: BatchStates;
  readonly #segments: SegmentCache;

  constructor({ statuses, batch, segments }: TileSources) {
    this.#statuses = statuses;
    this.#batch = batch;
    this.#segments = segments;
  }

  /**
   * Returns the tiles of the newest position, or `held` if the answer would be the same again. `first` is the manifest
   * to begin with. Throws Vanished when a file or segment disappears during the read.
   */
  async newest<Held extends ReadAnswer | null>(
    definition: Definition,
    query: Query,
    first: Manifest,
    held: Held,
  ): Promise<Tiles | NonNullable<Held>> {
    const { view } = definition;
    const nowMs = this.#statuses.now();
    let manifest = first;
    let missing: Missing = NO_CHAIN;
    for (let round = 1; round <= 2; round++) {
      if (round > 1) manifest = await this.#statuses.manifest(definition, "newest");
      const reach = await this.#reach(query, view, manifest, nowMs);
      const read = await this.#readLive(definition, query, reach, nowMs);
      if (read === null || "code" in read) {
        // Without the chain there is no pointer to check the manifest against, so the disk is asked.
        return this.alone(view, query, await this.#statuses.manifest(definition, "newest"), read ?? NO_CHAIN);
      }
      if (read.chain.pointer > manifest.version) manifest = await this.#statuses.manifest(definition, "newest");
      if (held !== null && isUnchanged(held, manifest, read.chain)) {
        const now = this.#statuses.of(manifest, { chain: read.chain, applied: held.applied }, null);
        return { ...held, freshnessMs: now.freshnessMs, problems: now.problems };
      }
      const joined = join(manifest, read.chain);
      if (!joined.ok) {
        missing = joined.missing;
        continue;
      }
      const live = await this.#live(definition, query, manifest, { read, joined, nowMs });
      if ("code" in live) return this.alone(view, query, await this.#statuses.manifest(definition, "newest"), live);
      // The newest bucket can only have moved forward since `reach` was computed, unless all of Redis was lost in
      // between.
      if (live.window.fromMs < reach.fromMs || live.window.toMs > reach.toMs)
        throw new Vanished("segment", "the segment that held the newest bucket is gone");
      return { manifest, live, status: this.#statuses.of(manifest, live, null), window: live.window };
    }
    return this.alone(view, query, manifest, missing);
  }

  /**
   * Returns the buckets to read before the newest bucket is known. It is never before the batch version's newest
   * bucket.
   */
  async #reach(query: Query, view: View, manifest: Manifest, nowMs: EpochMs): Promise<TimeRange> {
    const toMs = query.toMs ?? LAST_INSTANT;
    const isGiven = query.fromMs !== null || query.toMs !== null;
    const known = isGiven ? null : await this.#batch.lastBucket(manifest, bucketOf(nowMs, view.grainMs));
    if (!isGiven && known === null) return { fromMs: -LAST_INSTANT, toMs };
    return { fromMs: windowOf(query, view, { untilNow: known, any: known }, nowMs).fromMs, toMs };
  }

  /** Reads the chain, and the part of its open segment that the query needs. */
  async #readLive(
    definition: Definition,
    query: Query,
    reach: TimeRange,
    nowMs: EpochMs,
  ): Promise<LiveRead | Missing | null> {
    const { view } = definition;
    const { sketches, fields } = needsOf(view, query);
    const { fromMs } = readRange(view, query, reach);
    // A session may continue beyond the range, and all parts of the open segment have to be of one state.
    const range = { fromMs, toMs: gapOf(view, query) === null ? reach.toMs : LAST_INSTANT };
    const read = await this.#statuses.readLive(definition, { ...range, sketches, fields });
    if (fields === null || read === null || "code" in read || query.toMs !== null) return read;
    // The window ends at the newest bucket until now. If the open segment has a later bucket, the read fields may not
    // have that bucket, so all fields are read.
    if ((read.lastBucket ?? nowMs) <= nowMs) return read;
    return this.#statuses.readLive(definition, { ...range, sketches, fields: null });
  }

  async #live(
    definition: Definition,
    query: Query,
    manifest: Manifest,
    {
      read,
      joined,
      nowMs,
    }: { readonly read: LiveRead; readonly joined: Joined & { ok: true }; readonly nowMs: EpochMs },
  ): Promise<Live | Missing> {
    try {
      const chain = this.#statuses.chain(definition);
      const closed = await this.#closed(chain, definition, query, joined.closed);
      const window = await this.window(query, definition.view, { manifest, closed, open: read, nowMs });
      const closedName = joined.closed.map(spanName).join();
      return { chain: read.chain, applied: joined.applied, closed, closedName, open: read.open, window };
    } catch (error) {
      return this.#statuses.missingBy(error);
    }
  }

  /** Returns the closed segments. For a query that names its buckets and groups, returns only the cells of these. */
  #closed(
    chain: Chain,
    definition: Definition,
    query: Query,
    segments: readonly SizedSegment[],
  ): Promise<readonly SegmentTile[]> {
    const { fields, sketches } = needsOf(definition.view, query);
    const { fromMs, toMs } = query;
    if (fields === null || fields.length === 0 || sketches || fromMs === null || toMs === null)
      return this.#segments.all(chain, definition, segments);
    const { view } = definition;
    if (gapOf(view, query) !== null) return this.#segments.all(chain, definition, segments);
    const range = readRange(view, query, { fromMs, toMs });
    return this.#segments.keyed(chain, definition, segments, { ...range, fields });
  }

  /** Returns the batch version alone, with the reason. */
  async alone(view: View, query: Query, manifest: Manifest, missing: Missing): Promise<Tiles> {
    const nowMs = this.#statuses.now();
    const window = await this.window(query, view, { manifest, closed: [], open: null, nowMs });
    return { manifest, live: null, status: this.#statuses.of(manifest, null, missing), window };
  }

  async #newestBuckets({ grainMs }: View, { manifest, closed, open, nowMs }: Newest): Promise<NewestBuckets> {
    const any = newestOf([
      await this.#batch.lastBucket(manifest, LAST_INSTANT),
      open?.lastBucket ?? null,
      ...closed.map(({ lastBucket }) => lastBucket),
    ]);
    if (any === null || any <= nowMs) return { untilNow: any, any };
    // If only a part of the open segment was read, its newest bucket may not be in that part.
    const ofOpen = [open?.lastBucket ?? null, ...(open?.open ?? []).map(({ bucket }) => bucket)];
    const untilNow = newestOf([
      // The start of the bucket is the cache key, so that files are read once a bucket and not with each request.
      await this.#batch.lastBucket(manifest, bucketOf(nowMs, grainMs)),
      ...ofOpen.filter((bucket) => bucket !== null && bucket <= nowMs),
      ...closed.map((segment) => segment.lastUntil(nowMs)),
    ]);
    return { untilNow, any };
  }

  /**
   * Returns the window of a query. If the view has nothing until now, the last 24 hours are the 24 hours before now.
   */
  async window(query: Query, view: View, newest: Newest): Promise<Window> {
    const { nowMs } = newest;
    // A window with a given end is the same whatever the view has.
    const isGiven = query.toMs !== null;
    const { untilNow, any } = isGiven ? { untilNow: null, any: null } : await this.#newestBuckets(view, newest);
    const until = untilNow ?? bucketOf(nowMs, view.grainMs);
    const range = windowOf(query, view, { untilNow: until, any }, nowMs);
    const movesWithClock = !isGiven && (untilNow === null || (any !== null && any > nowMs));
    return { ...range, laterMs: !isGiven && any !== null && any >= range.toMs ? any : null, movesWithClock };
  }
}

export const VANISHED: Missing = {
  code: "VANISHED",
  message: "segments were deleted again and again during the read: this is the batch version alone",
};

/** Whether an answer would be the same again. */
function isUnchanged(
  { manifest, chain, missing, rows, movesWithClock }: ReadAnswer,
  newest: Manifest,
  now: ChainState,
): boolean {
  if (missing !== null || rows.length === 0 || movesWithClock) return false;
  return manifest === newest && chain?.digest === now.digest;
}

function newestOf(buckets: readonly (EpochMs | null)[]): EpochMs | null {
  return buckets.reduce(
    (newest, bucket) => (newest === null || (bucket !== null && bucket > newest) ? bucket : newest),
    null,
  );
}
