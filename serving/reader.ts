import type { Cell } from "../core/cells.ts";
import { componentsOf, type NamedComponent, SESSION_FIRST, SESSION_LAST } from "../core/components.ts";
import type { Manifest } from "../core/documents.ts";
import { TidelineError } from "../core/errors.ts";
import { ROWS } from "../core/measures/measure.ts";
import { type Cut, cutsEqual, cutToJson, type EpochMs } from "../core/position.ts";
import { bucketStarts, presentRows, type Query, type Row, readRange, windowOf } from "../core/query.ts";
import { bucketOf } from "../core/time.ts";
import type { View } from "../core/view.ts";
import type { ChainState } from "../store/chain-state.ts";
import type { Definition } from "../store/definitions.ts";
import type { BatchStates } from "./batch-states.ts";
import type { History } from "./history.ts";
import { type Joined, join, type Missing, NO_CHAIN } from "./join.ts";
import { keyedFields } from "./keyed-fields.ts";
import type { LiveRead } from "./live-reads.ts";
import { badRequest } from "./problem.ts";
import { RedisSilent } from "./redis-gate.ts";
import { type SegmentCache, type SegmentTile, spanName } from "./segment-cache.ts";
import type { Standing, Standings } from "./standings.ts";
import { type AnswerBase, AnswerBuilder, type AnswerLimits, type BucketTile, baseWeight } from "./tile-cells.ts";
import { queryKey } from "./validators.ts";
import { Vanished } from "./vanished.ts";
import { WeightedCache } from "./weighted-cache.ts";

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
  /** Cells of answers without the open segment that are kept in memory. */
  readonly maxCachedCells?: number;
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
  /** Names the closed segments: the same name, the same tiles. */
  readonly closedName: string;
  readonly open: readonly BucketTile[];
  readonly window: Window;
}

interface Tiles {
  readonly manifest: Manifest;
  /** Null for a batch version alone. */
  readonly live: Pick<Live, "closed" | "closedName" | "open"> | null;
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
  readonly #bases: WeightedCache<AnswerBase>;
  readonly #needs = new WeakMap<Query, Needs>();

  constructor({ standings, batch, segments, history, limits, maxCachedCells = 1_000_000 }: ReaderOptions) {
    this.#standings = standings;
    this.#batch = batch;
    this.#segments = segments;
    this.#history = history;
    this.#limits = limits;
    this.#bases = new WeightedCache(maxCachedCells, baseWeight);
  }

  /**
   * Answers a query, at `at` or at the newest position there is. `held` is an earlier answer to the same query: if nothing has changed since, the
   * same rows are given again. Errors as `read`.
   */
  async answer(
    definition: Definition,
    query: Query,
    at: Cut | null = null,
    held: ReadAnswer | null = null,
  ): Promise<ReadAnswer> {
    const reading =
      at === null
        ? await this.#again(definition, (attempt) => this.#newest(definition, query, attempt, held))
        : await this.read(definition, query, at);
    if ("rows" in reading) return reading;
    const { cells, ...rest } = reading;
    return { ...rest, ...presentRows(definition.view, query, cells, rest) };
  }

  /**
   * Reads the cells of a query. Throws NOT_READY before the first manifest, TOO_LARGE for more cells than fit, ARCHIVE_DAMAGED when published
   * files are gone or damaged; for an earlier position also what History throws.
   */
  async read(definition: Definition, query: Query, at: Cut | null = null): Promise<Reading> {
    if (at === null) return this.#again(definition, (attempt) => this.#newest(definition, query, attempt, null));
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

  async #newest<Held extends ReadAnswer | null>(
    definition: Definition,
    query: Query,
    attempt: Attempt,
    held: Held,
  ): Promise<Reading | NonNullable<Held>> {
    const { view } = definition;
    const manifest = await this.#standings.manifest(definition, attempt === "cached" ? "cached" : "newest");
    const tiles =
      attempt === "batch alone"
        ? await this.#alone(view, query, manifest, VANISHED)
        : await this.#tiles(definition, query, manifest, held);
    return "rows" in tiles ? tiles : this.#merge(view, query, tiles);
  }

  async #past(definition: Definition, query: Query, at: Cut): Promise<Reading> {
    const { view } = definition;
    const { manifest, closed } = await this.#history.at(definition, at);
    const lasts = [await this.#batch.lastBucket(manifest), ...closed.map(({ lastBucket }) => lastBucket)];
    const window = this.#window(query, view, newestOf(lasts));
    const standing = { ...this.#standings.of(manifest, null, null), applied: at };
    const closedName = `at ${JSON.stringify(cutToJson(at))}`;
    return this.#merge(view, query, { manifest, live: { closed, closedName, open: [] }, standing, window });
  }

  async #merge(view: View, query: Query, tiles: Tiles): Promise<Reading> {
    const { manifest, live, standing, window } = tiles;
    const { fromMs, toMs } = readRange(view, query, window);
    const { generation, version } = manifest;
    const name = [generation, version, live?.closedName ?? "alone", window.fromMs, window.toMs, queryKey(query)];
    const base = await this.#bases.get(name.join(" "), () => this.#base(view, query, tiles));
    const builder = this.#builder(view, query, window);
    builder.begin(base);
    await builder.addStored(live?.open ?? [], fromMs, toMs);
    return { ...standing, cells: builder.table.cells(), ...window };
  }

  /** What does not change while the chain's last segment grows: batch version and closed segments, merged. */
  async #base(view: View, query: Query, { manifest, live, window }: Tiles): Promise<AnswerBase> {
    const { fromMs, toMs } = readRange(view, query, window);
    const { everyMs, by, where } = query;
    const { components } = this.#needsOf(view, query);
    const plan = { view, fromMs, toMs, everyMs, starts: startsOf(view, query, window), by, where, components };
    const builder = this.#builder(view, query, window);
    await builder.addRolledUp(await this.#batch.cells(manifest, plan));
    for (const segment of live?.closed ?? []) await builder.addStored(segment.within(fromMs, toMs), fromMs, toMs);
    return builder.base();
  }

  #builder(view: View, query: Query, window: Window): AnswerBuilder {
    const wanted = this.#needsOf(view, query).components.map(({ key }) => key);
    return new AnswerBuilder(view, query, window, wanted, this.#limits);
  }

  #needsOf(view: View, query: Query): Needs {
    const held = this.#needs.get(query) ?? needs(view, query);
    this.#needs.set(query, held);
    return held;
  }

  async #tiles<Held extends ReadAnswer | null>(
    definition: Definition,
    query: Query,
    first: Manifest,
    held: Held,
  ): Promise<Tiles | NonNullable<Held>> {
    const { view } = definition;
    let manifest = first;
    let missing: Missing = NO_CHAIN;
    for (let round = 1; round <= 2; round++) {
      if (round > 1) manifest = await this.#standings.manifest(definition, "newest");
      const reach = readingWindow(query, view, await this.#batch.lastBucket(manifest));
      const range = readRange(view, query, reach);
      const { sketches, fields } = this.#needsOf(view, query);
      const read = await this.#standings.look(definition, { ...range, sketches, fields });
      if (read === null || "code" in read) {
        // No pointer to check the manifest against: ask the disk.
        return this.#alone(view, query, await this.#standings.manifest(definition, "newest"), read ?? NO_CHAIN);
      }
      if (read.chain.pointer > manifest.version) manifest = await this.#standings.manifest(definition, "newest");
      if (held !== null && isUnchanged(held, manifest, read.chain)) {
        const { freshnessMs } = this.#standings.of(manifest, { chain: read.chain, applied: held.applied }, null);
        return { ...held, freshnessMs };
      }
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
        throw new Vanished("segment", "the segment that held the newest bucket is gone");
      return { manifest, live, standing: this.#standings.of(manifest, live, null), window: live.window };
    }
    return this.#alone(view, query, manifest, missing);
  }

  async #live(
    definition: Definition,
    query: Query,
    manifest: Manifest,
    read: LiveRead,
    joined: Joined & { ok: true },
  ): Promise<Live | "silent"> {
    try {
      const chain = this.#standings.chain(definition);
      const closed = await this.#segments.all(chain, definition, joined.closed);
      const lasts = [
        await this.#batch.lastBucket(manifest),
        read.lastBucket,
        ...closed.map(({ lastBucket }) => lastBucket),
      ];
      const window = this.#window(query, definition.view, newestOf(lasts));
      const closedName = joined.closed.map(spanName).join();
      return { chain: read.chain, applied: joined.applied, closed, closedName, open: read.open, window };
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

/** Whether an answer would be the same again. That of a view without rows may depend on the clock. */
function isUnchanged({ manifest, chain, missing, rows }: ReadAnswer, newest: Manifest, now: ChainState): boolean {
  return missing === null && rows.length > 0 && manifest === newest && chain?.digest === now.digest;
}

/** What a question needs of a view's state. */
interface Needs {
  readonly components: readonly NamedComponent[];
  readonly sketches: boolean;
  /** The fields of a bucket in Redis; null: all of them. */
  readonly fields: readonly string[] | null;
}

function needs(view: View, query: Query): Needs {
  const measures = new Set(query.measures);
  const always = new Set([ROWS.name, SESSION_FIRST, SESSION_LAST]);
  const components = componentsOf(view).filter(
    ({ key }) => always.has(key) || measures.has(key.slice(0, key.indexOf("."))),
  );
  const sketches = components.some(({ form }) => form === "registers");
  return { components, sketches, fields: keyedFields(view, query, components) };
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
    `A published state file of view "${view.name}" is missing or damaged.`,
    `\`tideline rebuild ${view.name}\` makes its state anew from the archive.`,
    { cause },
  );
}
