import { componentsOf } from "../core/components.ts";
import type { Manifest } from "../core/documents.ts";
import { TidelineError } from "../core/errors.ts";
import type { Cut, EpochMs } from "../core/position.ts";
import { presentRows, type Query, type Row, windowOf } from "../core/query.ts";
import { bucketOf } from "../core/time.ts";
import type { View } from "../core/view.ts";
import type { ChainRead, ChainState } from "../store/chain-state.ts";
import type { Definition } from "../store/definitions.ts";
import type { BatchPlan } from "./batch-sql.ts";
import type { BatchStates } from "./batch-states.ts";
import { type Joined, join, type Missing, NO_CHAIN } from "./join.ts";
import { RedisSilent } from "./redis-gate.ts";
import type { SegmentCache, SegmentTile } from "./segment-cache.ts";
import type { Standing, Standings } from "./standings.ts";
import { AnswerBuilder, type AnswerLimits, bucketTile } from "./tile-cells.ts";
import { Vanished } from "./vanished.ts";

export interface ReadAnswer extends Standing {
  readonly rows: readonly Row[];
  readonly truncated: boolean;
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
}

export interface ReaderOptions {
  readonly standings: Standings;
  readonly batch: BatchStates;
  readonly segments: SegmentCache;
  readonly limits: AnswerLimits;
}

interface Window {
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
}

/** The live side of an answer: everything that follows the batch version's cut. */
interface Live {
  readonly chain: ChainState;
  readonly applied: Cut;
  readonly closed: readonly SegmentTile[];
  readonly read: ChainRead;
  readonly window: Window;
}

interface Tiles {
  readonly manifest: Manifest;
  readonly live: Live | null;
  readonly missing: Missing | null;
  readonly window: Window;
}

/** A reader that started over this often has a manifest whose files keep going away, or a Redis that keeps losing segments. */
const MAX_STARTS = 4;
const ALL_OF_TIME = 8_640_000_000_000_000;

/**
 * The protocol's Reader: manifest first, then Redis, and an answer only from tiles that cover the log without gap or overlap.
 *
 *   newest manifest M (cached, checked against the pointer) -> chain and open segment in one atomic step -> do they tile from M.cut?
 *     yes  M's states + closed segments + open segment
 *     no   load the newest M, once more; then M alone, and say what is missing
 *   a file or segment is gone: M was two versions old; start over with the newest
 */
export class Reader {
  readonly #standings: Standings;
  readonly #batch: BatchStates;
  readonly #segments: SegmentCache;
  readonly #limits: AnswerLimits;

  constructor({ standings, batch, segments, limits }: ReaderOptions) {
    this.#standings = standings;
    this.#batch = batch;
    this.#segments = segments;
    this.#limits = limits;
  }

  /** Answers a query. Throws NOT_READY before the first manifest, TOO_LARGE for more cells than fit, ARCHIVE_DAMAGED when published files are gone. */
  async answer(definition: Definition, query: Query): Promise<ReadAnswer> {
    for (let start = 1; ; start++) {
      try {
        return await this.#answer(definition, query, start === 1 ? "cached" : "newest", start > MAX_STARTS);
      } catch (error) {
        if (!(error instanceof Vanished)) throw error;
        if (start > MAX_STARTS || (start === MAX_STARTS && error.what === "file")) throw damaged(definition, error);
      }
    }
  }

  async #answer(
    definition: Definition,
    query: Query,
    which: "cached" | "newest",
    batchAlone: boolean,
  ): Promise<ReadAnswer> {
    const { view } = definition;
    const plan = neededComponents(view, query);
    const manifest = await this.#standings.manifest(definition, which);
    const tiles = batchAlone
      ? await this.#alone(view, query, manifest, VANISHED)
      : await this.#tiles(definition, query, manifest, plan.sketches.length > 0);
    const { fromMs, toMs } = tiles.window;
    const wanted = [...plan.integers, ...plan.sketches].map(({ key }) => key);
    const builder = new AnswerBuilder(view, query, wanted, this.#limits);
    const { everyMs, by, where } = query;
    await builder.addRolledUp(await this.#batch.cells(tiles.manifest, { fromMs, toMs, everyMs, by, where, ...plan }));
    for (const segment of tiles.live?.closed ?? []) await builder.addStored(segment.within(fromMs, toMs), fromMs, toMs);
    for (const bucket of tiles.live?.read.open ?? []) await builder.addStored([bucketTile(bucket)], fromMs, toMs);
    return {
      ...this.#standings.of(tiles.manifest, tiles.live, tiles.missing),
      ...presentRows(view, query, builder.table.cells()),
      fromMs,
      toMs,
    };
  }

  async #tiles(definition: Definition, query: Query, first: Manifest, sketches: boolean): Promise<Tiles> {
    const { view } = definition;
    let manifest = first;
    const chain = this.#standings.chain(definition);
    let missing: Missing = NO_CHAIN;
    for (let round = 1; round <= 2; round++) {
      if (round > 1) manifest = await this.#standings.manifest(definition, "newest");
      const reach = readingWindow(query, view, await this.#batch.lastBucket(manifest));
      const read = await this.#standings.ask(() => chain.read(reach.fromMs, reach.toMs, sketches));
      if (read === null || "code" in read) {
        // No pointer to check the manifest against: ask the disk.
        return this.#alone(view, query, await this.#standings.manifest(definition, "newest"), read ?? NO_CHAIN);
      }
      if (read.chain.pointer > manifest.version) manifest = await this.#standings.manifest(definition, "newest");
      const joined = join(manifest, read.chain);
      if (!joined.ok) {
        missing = joined.missing;
        continue;
      }
      const live = await this.#live(definition, query, manifest, read, joined);
      if (live === "silent")
        return this.#alone(view, query, await this.#standings.manifest(definition, "newest"), SILENT);
      // The newest bucket can only have moved on since `reach` was taken, unless all of Redis was lost in between.
      if (live.window.fromMs < reach.fromMs || live.window.toMs > reach.toMs)
        throw new Vanished("segment", "that held the newest bucket");
      return { manifest, live, missing: null, window: live.window };
    }
    return this.#alone(view, query, manifest, missing);
  }

  async #live(
    definition: Definition,
    query: Query,
    manifest: Manifest,
    read: ChainRead,
    joined: Joined & { ok: true },
  ): Promise<Live | "silent"> {
    try {
      const chain = this.#standings.chain(definition);
      const closed = await this.#segments.all(
        chain,
        definition.generation,
        read.chain.nonce,
        joined.closed.map(({ id }) => id),
      );
      const lasts = [
        await this.#batch.lastBucket(manifest),
        read.lastBucket,
        ...closed.map(({ lastBucket }) => lastBucket),
      ];
      const window = this.#window(query, definition.view, newestOf(lasts));
      return { chain: read.chain, applied: joined.applied, closed, read, window };
    } catch (error) {
      if (error instanceof RedisSilent) return "silent";
      throw error;
    }
  }

  async #alone(view: View, query: Query, manifest: Manifest, missing: Missing): Promise<Tiles> {
    const window = this.#window(query, view, await this.#batch.lastBucket(manifest));
    return { manifest, live: null, missing, window };
  }

  /** Of a view that holds nothing yet, the last 24 hours are those before now. */
  #window(query: Query, view: View, lastBucket: EpochMs | null): Window {
    return windowOf(query, view, lastBucket ?? bucketOf(this.#standings.now(), view.grainMs));
  }
}

const SILENT: Missing = {
  code: "REDIS_SILENT",
  message: "Redis did not give all segments in time: this is the batch version alone",
};
const VANISHED: Missing = {
  code: "VANISHED",
  message: "segments went away again and again while they were read: this is the batch version alone",
};

function neededComponents(view: View, query: Query): Pick<BatchPlan, "integers" | "sketches"> {
  const measures = new Set(query.measures);
  const wanted = componentsOf(view).filter(({ key }) => key === "rows" || measures.has(key.slice(0, key.indexOf("."))));
  return {
    integers: wanted.filter(({ form }) => form === "integer"),
    sketches: wanted.filter(({ form }) => form === "registers"),
  };
}

/** The buckets to read before the newest one is known: it cannot lie before the batch version's. */
function readingWindow(query: Query, view: View, knownLast: EpochMs | null): Window {
  const { fromMs } = windowOf(query, view, knownLast);
  const everything = query.fromMs === null && query.toMs === null && knownLast === null;
  return { fromMs: everything ? -ALL_OF_TIME : fromMs, toMs: query.toMs ?? ALL_OF_TIME };
}

function newestOf(buckets: readonly (EpochMs | null)[]): EpochMs | null {
  return buckets.reduce(
    (newest, bucket) => (newest === null || (bucket !== null && bucket > newest) ? bucket : newest),
    null,
  );
}

function damaged({ view }: Definition, cause: Vanished): TidelineError {
  return new TidelineError(
    "ARCHIVE_DAMAGED",
    `A published state file of view "${view.name}" is missing.`,
    "Restore the data directory, or rebuild the view from the archive.",
    { cause },
  );
}
