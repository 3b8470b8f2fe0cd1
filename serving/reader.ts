import type { Cell } from "../core/cells.ts";
import { componentsOf, type NamedComponent, SESSION_FIRST, SESSION_LAST } from "../core/components.ts";
import type { Manifest } from "../core/documents.ts";
import { TidelineError } from "../core/errors.ts";
import { ROWS } from "../core/measures/measure.ts";
import { type Cut, cutsEqual, type EpochMs } from "../core/position.ts";
import { bucketStarts, presentRows, type Query, type Row, readRange, windowOf } from "../core/query.ts";
import { bucketOf } from "../core/time.ts";
import type { View } from "../core/view.ts";
import type { BucketCells, ChainRead, ChainState } from "../store/chain-state.ts";
import type { Definition } from "../store/definitions.ts";
import type { BatchStates } from "./batch-states.ts";
import type { History } from "./history.ts";
import { type Joined, join, type Missing, NO_CHAIN } from "./join.ts";
import { badRequest } from "./problem.ts";
import { RedisSilent } from "./redis-gate.ts";
import type { SegmentCache, SegmentTile } from "./segment-cache.ts";
import type { Standing, Standings } from "./standings.ts";
import { AnswerBuilder, type AnswerLimits, bucketTile } from "./tile-cells.ts";
import { Vanished } from "./vanished.ts";

/** The merged cells of a query's own buckets and dimensions, and where they stand. */
export interface Reading extends Standing {
  readonly cells: readonly Cell[];
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
}

export interface ReadAnswer extends Omit<Reading, "cells"> {
  readonly rows: readonly Row[];
  readonly truncated: boolean;
}

export interface ReaderOptions {
  readonly standings: Standings;
  readonly batch: BatchStates;
  readonly segments: SegmentCache;
  readonly history: History;
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
  readonly open: readonly BucketCells[];
  readonly window: Window;
}

interface Tiles {
  readonly manifest: Manifest;
  /** Null for a batch version alone. */
  readonly live: Pick<Live, "closed" | "open"> | null;
  readonly standing: Standing;
  readonly window: Window;
}

/** Which tiles an attempt at an answer begins with. */
type Attempt = "cached" | "newest" | "batch alone";

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
  readonly #history: History;
  readonly #limits: AnswerLimits;

  constructor({ standings, batch, segments, history, limits }: ReaderOptions) {
    this.#standings = standings;
    this.#batch = batch;
    this.#segments = segments;
    this.#history = history;
    this.#limits = limits;
  }

  /** Answers a query, at `at` or at the newest position there is. Errors as `read`. */
  async answer(definition: Definition, query: Query, at: Cut | null = null): Promise<ReadAnswer> {
    const { cells, ...reading } = await this.read(definition, query, at);
    return { ...reading, ...presentRows(definition.view, query, cells, reading) };
  }

  /**
   * Reads the cells of a query. Throws NOT_READY before the first manifest, TOO_LARGE for more cells than fit, ARCHIVE_DAMAGED when published
   * files are gone; for an earlier position also what History throws.
   */
  async read(definition: Definition, query: Query, at: Cut | null = null): Promise<Reading> {
    if (at === null) return this.#again(definition, (attempt) => this.#newest(definition, query, attempt));
    const { applied } = await this.#standings.find(definition);
    if (cutsEqual(applied, at)) {
      const newest = await this.read(definition, query);
      if (cutsEqual(newest.applied, at)) return newest;
    }
    return this.#again(definition, () => this.#past(definition, query, at));
  }

  /** Starts over when a file or segment goes away under a reader. */
  async #again<T>(definition: Definition, attempt: (which: Attempt) => Promise<T>): Promise<T> {
    for (let start = 1; ; start++) {
      try {
        return await attempt(start === 1 ? "cached" : start > MAX_STARTS ? "batch alone" : "newest");
      } catch (error) {
        if (!(error instanceof Vanished)) throw error;
        if (start > MAX_STARTS || (start === MAX_STARTS && error.what === "file")) throw damaged(definition, error);
      }
    }
  }

  async #newest(definition: Definition, query: Query, attempt: Attempt): Promise<Reading> {
    const { view } = definition;
    const sketches = neededComponents(view, query).some(({ form }) => form === "registers");
    const manifest = await this.#standings.manifest(definition, attempt === "cached" ? "cached" : "newest");
    const tiles =
      attempt === "batch alone"
        ? await this.#alone(view, query, manifest, VANISHED)
        : await this.#tiles(definition, query, manifest, sketches);
    return this.#merge(view, query, tiles);
  }

  async #past(definition: Definition, query: Query, at: Cut): Promise<Reading> {
    const { view } = definition;
    const { manifest, closed } = await this.#history.at(definition, at);
    const lasts = [await this.#batch.lastBucket(manifest), ...closed.map(({ lastBucket }) => lastBucket)];
    const window = this.#window(query, view, newestOf(lasts));
    const standing = { ...this.#standings.of(manifest, null, null), applied: at };
    return this.#merge(view, query, { manifest, live: { closed, open: [] }, standing, window });
  }

  async #merge(view: View, query: Query, { manifest, live, standing, window }: Tiles): Promise<Reading> {
    const { fromMs, toMs } = readRange(view, query, window);
    const components = neededComponents(view, query);
    const wanted = components.map(({ key }) => key);
    const starts = startsOf(view, query, window);
    const builder = new AnswerBuilder(view, query, window, wanted, this.#limits);
    const { everyMs, by, where } = query;
    const plan = { view, fromMs, toMs, everyMs, starts, by, where, components };
    await builder.addRolledUp(await this.#batch.cells(manifest, plan));
    for (const segment of live?.closed ?? []) await builder.addStored(segment.within(fromMs, toMs), fromMs, toMs);
    for (const bucket of live?.open ?? []) await builder.addStored([bucketTile(view, bucket)], fromMs, toMs);
    return { ...standing, cells: builder.table.cells(), ...window };
  }

  async #tiles(definition: Definition, query: Query, first: Manifest, sketches: boolean): Promise<Tiles> {
    const { view } = definition;
    let manifest = first;
    const chain = this.#standings.chain(definition);
    let missing: Missing = NO_CHAIN;
    for (let round = 1; round <= 2; round++) {
      if (round > 1) manifest = await this.#standings.manifest(definition, "newest");
      const reach = readingWindow(query, view, await this.#batch.lastBucket(manifest));
      const range = readRange(view, query, reach);
      const read = await this.#standings.ask(() => chain.read(range.fromMs, range.toMs, sketches));
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
      return { manifest, live, standing: this.#standings.of(manifest, live, null), window: live.window };
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
        definition,
        read.chain.nonce,
        joined.closed.map(({ id }) => id),
      );
      const lasts = [
        await this.#batch.lastBucket(manifest),
        read.lastBucket,
        ...closed.map(({ lastBucket }) => lastBucket),
      ];
      const window = this.#window(query, definition.view, newestOf(lasts));
      return { chain: read.chain, applied: joined.applied, closed, open: read.open, window };
    } catch (error) {
      if (error instanceof RedisSilent) return "silent";
      throw error;
    }
  }

  async #alone(view: View, query: Query, manifest: Manifest, missing: Missing): Promise<Tiles> {
    const window = this.#window(query, view, await this.#batch.lastBucket(manifest));
    return { manifest, live: null, standing: this.#standings.of(manifest, null, missing), window };
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

function neededComponents(view: View, query: Query): NamedComponent[] {
  const measures = new Set(query.measures);
  const always = new Set([ROWS.name, SESSION_FIRST, SESSION_LAST]);
  return componentsOf(view).filter(({ key }) => always.has(key) || measures.has(key.slice(0, key.indexOf("."))));
}

/** Where the calendar cuts the answer; a question that it cannot cut is the client's. */
function startsOf(view: View, query: Query, window: Window): readonly EpochMs[] | null {
  try {
    return bucketStarts(view, query, window);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const allowed = "a coarser or finer every, a shorter window, or another zone";
    throw badRequest([{ parameter: "every", problem: error.message, allowed }]);
  }
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
