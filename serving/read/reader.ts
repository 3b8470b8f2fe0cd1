import { componentsOf, type NamedComponent, SESSION_FIRST, SESSION_LAST } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { type Cut, cutsEqual, cutToJson, type EpochMs } from "../../core/log/position.ts";
import { ROWS } from "../../core/measures/measure.ts";
import { Budget, type BudgetLimits, OverBudget } from "../../core/query/budget.ts";
import { calendarWork } from "../../core/query/calendar.ts";
import type { RowExtent } from "../../core/query/extents.ts";
import { type PresentedRows, presenting } from "../../core/query/present.ts";
import {
  bucketStarts,
  gapOf,
  type NewestBuckets,
  type Query,
  readRange,
  type TimeRange,
  windowOf,
} from "../../core/query/query.ts";
import { type TopOrder, topOrder } from "../../core/query/top-order.ts";
import type { Cell } from "../../core/state/cells.ts";
import { bucketOf } from "../../core/time.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { ChainState } from "../../store/redis/chain-state.ts";
import { badRequest, overBudget, Refusal } from "../common/problem.ts";
import { inTurns } from "../common/turns.ts";
import type { BatchPlan } from "./batch/batch-sql.ts";
import { type BatchStates, versionKey } from "./batch/batch-states.ts";
import { topCells } from "./batch/top-cells.ts";
import { type AnswerBase, AnswerBuilder, type BucketTile, baseWeight } from "./cells/tile-cells.ts";
import { Vanished } from "./cells/vanished.ts";
import { WeightedCache } from "./cells/weighted-cache.ts";
import type { History } from "./history.ts";
import { type Joined, join, type Missing, NO_CHAIN, type SizedSegment } from "./live/join.ts";
import { keyedFields } from "./live/keyed-fields.ts";
import type { LiveRead } from "./live/live-reads.ts";
import { RedisSilent } from "./live/redis-gate.ts";
import { type SegmentCache, type SegmentTile, spanName } from "./live/segment-cache.ts";
import type { Standing, Standings } from "./live/standings.ts";
import { readSessions } from "./session-pieces.ts";
import { queryKey } from "./validators.ts";

/**
 * The merged cells of a query's own buckets and dimensions, and where they stand. For sliding windows these are the
 * buckets before they are slid, for a view of sessions whole sessions.
 */
export interface Reading extends Standing {
  readonly cells: readonly Cell[];
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  /**
   * The newest bucket that the view holds, when it begins after now and the query does not say up to when it asks; else
   * null.
   */
  readonly laterMs: EpochMs | null;
  /**
   * The same position may have another window later: the query does not say up to when it asks, and what is newest
   * until now depends on now.
   */
  readonly movesWithClock: boolean;
  /** What reading them cost; presenting them counts too. */
  readonly budget: Budget;
  /** These are not all cells, but those among which the first ones of the order that was asked for are. */
  readonly firstOnly: boolean;
}

export interface ReadAnswer extends Omit<Reading, "cells" | "budget" | "firstOnly">, PresentedRows {}

export interface ReaderOptions {
  readonly standings: Standings;
  readonly batch: BatchStates;
  readonly segments: SegmentCache;
  readonly history: History;
  readonly limits: BudgetLimits;
  /** Cells of answers without the open segment that are kept in memory. */
  readonly maxCachedCells?: number;
}

/** The event time that an answer is about. */
type Window = Pick<Reading, "fromMs" | "toMs" | "laterMs" | "movesWithClock">;

/** What the newest buckets are looked for in. `open` is null without an open segment. */
interface Newest {
  readonly manifest: Manifest;
  readonly closed: readonly SegmentTile[];
  readonly open: LiveRead | null;
  readonly nowMs: EpochMs;
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

export interface Tiles {
  readonly manifest: Manifest;
  /** Null for a batch version alone. */
  readonly live: Pick<Live, "closed" | "closedName" | "open"> | null;
  readonly standing: Standing;
  readonly window: Window;
}

/** Whose cells are read. */
interface Asked {
  /**
   * When there are too many cells, only those among which the first ones of this order are; null: there is no order.
   */
  readonly top: TopOrder | null;
  /** Aborted when who asks has left; null: the answer is wanted in any case. */
  readonly left: AbortSignal | null;
}

export interface ReadOptions extends Partial<Asked> {
  /** Absent or null: the newest position there is. */
  readonly at?: Cut | null;
}

export interface AnswerOptions extends Omit<ReadOptions, "top"> {
  /** An earlier answer to the same query: if nothing has changed since, the same rows are given again. */
  readonly held?: ReadAnswer | null;
}

/** Which tiles an attempt at an answer begins with. */
type Attempt = "cached" | "newest" | "batch alone";

/**
 * A reader that started over this often has a manifest whose files keep going away, or a Redis that keeps losing
 * segments.
 */
const MAX_STARTS = 4;
const MOST_WIDE = 1_000;
const ALL_OF_TIME = 8_640_000_000_000_000;

/**
 * The protocol's Reader: manifest first, then Redis, and an answer only from tiles that cover the log without gap or
 * overlap.
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
  readonly #limits: BudgetLimits;
  readonly #bases: WeightedCache<AnswerBase>;
  readonly #needs = new WeakMap<Query, Needs>();
  /** Questions that had too many cells: they are answered by the first ones at once. */
  readonly #wide = new Set<string>();

  constructor({ standings, batch, segments, history, limits, maxCachedCells = 1_000_000 }: ReaderOptions) {
    this.#standings = standings;
    this.#batch = batch;
    this.#segments = segments;
    this.#history = history;
    this.#limits = limits;
    this.#bases = new WeightedCache(maxCachedCells, baseWeight);
  }

  /**
   * Answers a query. Errors as `read`.
   */
  async answer(
    definition: Definition,
    query: Query,
    { at = null, held = null, left = null }: AnswerOptions = {},
  ): Promise<ReadAnswer> {
    const order = topOrder(definition.view, query);
    const top = "keys" in order ? order : null;
    const reading =
      at === null
        ? await this.#again(definition, (attempt) => this.#newest(definition, query, attempt, { held, top, left }))
        : await this.read(definition, query, { at, top, left });
    if ("rows" in reading) return reading;
    const { cells, budget, firstOnly: _, ...rest } = reading;
    const rows = await inTurns(presenting(definition.view, query, cells, rest, budget), budget);
    return { ...rest, ...rows };
  }

  /**
   * Reads the cells of a query; with `top`, when they are too many, only those among which the first ones of that order
   * are. Throws NOT_READY before the first manifest, OverBudget for a question that costs too much, ARCHIVE_DAMAGED
   * when published files are gone or damaged; for an earlier position also what History throws.
   */
  async read(
    definition: Definition,
    query: Query,
    { at = null, top = null, left = null }: ReadOptions = {},
  ): Promise<Reading> {
    if (at === null)
      return this.#again(definition, (attempt) => this.#newest(definition, query, attempt, { held: null, top, left }));
    const { applied } = await this.#standings.find(definition);
    if (cutsEqual(applied, at)) {
      const newest = await this.read(definition, query, { top, left });
      if (cutsEqual(newest.applied, at)) return newest;
    }
    return this.#again(definition, () => this.#past(definition, query, at, { top, left }));
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
    { held, ...asked }: Asked & { readonly held: Held },
  ): Promise<Reading | NonNullable<Held>> {
    const { view } = definition;
    const manifest = await this.#standings.manifest(definition, attempt === "cached" ? "cached" : "newest");
    const tiles =
      attempt === "batch alone"
        ? await this.#alone(view, query, manifest, VANISHED)
        : await this.#tiles(definition, query, manifest, held);
    return "rows" in tiles ? tiles : this.#merge(view, query, tiles, asked);
  }

  async #past(definition: Definition, query: Query, at: Cut, asked: Asked): Promise<Reading> {
    const { view } = definition;
    const { manifest, closed } = await this.#history.at(definition, at);
    const nowMs = this.#standings.now();
    const window = await this.#window(query, view, { manifest, closed, open: null, nowMs });
    const standing = { ...this.#standings.of(manifest, null, null), applied: at };
    const closedName = `at ${JSON.stringify(cutToJson(at))}`;
    return this.#merge(view, query, { manifest, live: { closed, closedName, open: [] }, standing, window }, asked);
  }

  async #merge(view: View, query: Query, tiles: Tiles, { top, left }: Asked): Promise<Reading> {
    const { standing, window } = tiles;
    await warmCalendar(query, window);
    const budget = new Budget(this.#limits, left);
    const read = (part: Query, range: TimeRange, piece: Budget) => this.#cells(view, part, { ...tiles, range }, piece);
    const gapMs = gapOf(view, query);
    const found =
      gapMs === null
        ? await this.#buckets(view, query, tiles, { top, budget })
        : {
            cells: await readSessions(view, query, window, {
              gapMs,
              extents: await this.#extents(tiles),
              limits: this.#limits,
              budget,
              read,
            }),
            firstOnly: false,
          };
    return { ...standing, ...found, budget, ...window };
  }

  /** The cells of a query whose rows are buckets: all of them, or the first ones when they are too many. */
  async #buckets(
    view: View,
    query: Query,
    tiles: Tiles,
    { top, budget }: { readonly top: TopOrder | null; readonly budget: Budget },
  ): Promise<Pick<Reading, "cells" | "firstOnly">> {
    const range = readRange(view, query, tiles.window);
    const wide = `${tiles.manifest.generation} ${range.fromMs} ${range.toMs} ${queryKey({ ...query, order: [], limit: 0 })}`;
    const canBeTop =
      top !== null &&
      top.limit < this.#limits.cells &&
      (top.keys.some(({ by }) => by === "bucket") || range.fromMs >= 0 || range.toMs <= 0);
    if (!canBeTop || !this.#wide.has(wide)) {
      try {
        return { cells: await this.#cells(view, query, { ...tiles, range }, budget), firstOnly: false };
      } catch (error) {
        if (!(error instanceof OverBudget) || error.unit !== "cells") throw error;
        if (!canBeTop) throw withoutOrder(error, view, query);
        if (this.#wide.size >= MOST_WIDE) this.#wide.clear();
        this.#wide.add(wide);
      }
    }
    return { cells: await this.#top(view, query, { ...tiles, range, left: budget.left }, top), firstOnly: true };
  }

  async #top(
    view: View,
    query: Query,
    tiles: Tiles & { readonly range: TimeRange; readonly left: AbortSignal | null },
    top: TopOrder,
  ): Promise<readonly Cell[]> {
    const { manifest, live, window, range, left } = tiles;
    const budget = new Budget(this.#limits, left);
    const builder = this.#builder(view, query, window, budget);
    for (const segment of live?.closed ?? [])
      await inTurns(builder.addStored(segment.within(range.fromMs, range.toMs), range), budget);
    await inTurns(builder.addStored(live?.open ?? [], range), budget);
    const plan = this.#plan(view, query, { window, range });
    return topCells(top, { batch: this.#batch, manifest, plan, limits: this.#limits, budget, builder });
  }

  /** The cells of `range`, merged. */
  async #cells(
    view: View,
    query: Query,
    tiles: Tiles & { readonly range: TimeRange },
    budget: Budget,
  ): Promise<readonly Cell[]> {
    const { manifest, live, window, range } = tiles;
    const { fromMs, toMs } = range;
    const merged = { ...query, fromMs: null, toMs: null, windowMs: 0, order: [], limit: 0 };
    const name = [versionKey(manifest), live?.closedName ?? "alone", fromMs, toMs, queryKey(merged)];
    const load = (left: AbortSignal) => this.#base(view, query, tiles, left);
    const base = await this.#bases.get(name.join(" "), load, budget.left);
    const builder = this.#builder(view, query, window, budget);
    builder.begin(base);
    await inTurns(builder.addStored(live?.open ?? [], range), budget);
    return builder.table.cells();
  }

  /** What does not change while the chain's last segment grows: batch version and closed segments, merged. */
  async #base(
    view: View,
    query: Query,
    { manifest, live, window, range }: Tiles & { readonly range: TimeRange },
    left: AbortSignal,
  ): Promise<AnswerBase> {
    const plan = this.#plan(view, query, { window, range });
    const budget = new Budget(this.#limits, left);
    const builder = this.#builder(view, query, window, budget);
    const batch = await this.#batch.cells(manifest, plan, left);
    budget.spend("rows", batch.rows);
    await inTurns(builder.addRolledUp(batch.tiles), budget);
    for (const segment of live?.closed ?? [])
      await inTurns(builder.addStored(segment.within(range.fromMs, range.toMs), range), budget);
    return builder.base();
  }

  #plan(
    view: View,
    query: Query,
    { window, range }: { readonly window: Window; readonly range: TimeRange },
  ): BatchPlan {
    const { everyMs, by, where } = query;
    const { components } = this.#needsOf(view, query);
    const starts = startsOf(view, query, window);
    const calendar = query.calendar === null || starts === null ? null : { grain: query.calendar, starts };
    return { view, ...range, everyMs, calendar, by, where, components };
  }

  #builder(view: View, query: Query, window: Window, budget: Budget): AnswerBuilder {
    const wanted = this.#needsOf(view, query).components.map(({ key }) => key);
    return new AnswerBuilder(view, query, window, wanted, budget);
  }

  /** Where in event time there is anything. */
  async #extents({ manifest, live }: Tiles): Promise<readonly RowExtent[]> {
    const tiles = [
      ...(live?.open ?? []),
      ...(live?.closed ?? []).flatMap((segment) => segment.within(-ALL_OF_TIME, ALL_OF_TIME)),
    ];
    return [
      ...(await this.#batch.extents(manifest)),
      ...tiles.map(({ bucket, groups }) => ({ fromMs: bucket, lastMs: bucket, rows: groups.length })),
    ];
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
    const nowMs = this.#standings.now();
    let manifest = first;
    let missing: Missing = NO_CHAIN;
    for (let round = 1; round <= 2; round++) {
      if (round > 1) manifest = await this.#standings.manifest(definition, "newest");
      const reach = await this.#reach(query, view, manifest, nowMs);
      const read = await this.#look(definition, query, reach, nowMs);
      if (read === null || "code" in read) {
        // No pointer to check the manifest against: ask the disk.
        return this.#alone(view, query, await this.#standings.manifest(definition, "newest"), read ?? NO_CHAIN);
      }
      if (read.chain.pointer > manifest.version) manifest = await this.#standings.manifest(definition, "newest");
      if (held !== null && isUnchanged(held, manifest, read.chain)) {
        const now = this.#standings.of(manifest, { chain: read.chain, applied: held.applied }, null);
        return { ...held, freshnessMs: now.freshnessMs, problems: now.problems };
      }
      const joined = join(manifest, read.chain);
      if (!joined.ok) {
        missing = joined.missing;
        continue;
      }
      const live = await this.#live(definition, query, manifest, { read, joined, nowMs });
      if (live === "silent")
        return this.#alone(view, query, await this.#standings.manifest(definition, "newest"), SILENT);
      // The newest bucket can only have moved on since `reach` was taken, unless all of Redis was lost in between.
      if (live.window.fromMs < reach.fromMs || live.window.toMs > reach.toMs)
        throw new Vanished("segment", "the segment that held the newest bucket is gone");
      return { manifest, live, standing: this.#standings.of(manifest, live, null), window: live.window };
    }
    return this.#alone(view, query, manifest, missing);
  }

  /** The buckets to read before the newest one is known: it cannot lie before the batch version's. */
  async #reach(query: Query, view: View, manifest: Manifest, nowMs: EpochMs): Promise<TimeRange> {
    const toMs = query.toMs ?? ALL_OF_TIME;
    const isGiven = query.fromMs !== null || query.toMs !== null;
    const known = isGiven ? null : await this.#batch.lastBucket(manifest, bucketOf(nowMs, view.grainMs));
    if (!isGiven && known === null) return { fromMs: -ALL_OF_TIME, toMs };
    return { fromMs: windowOf(query, view, { untilNow: known, any: known }, nowMs).fromMs, toMs };
  }

  /** The chain and what of its open segment the query needs. */
  async #look(
    definition: Definition,
    query: Query,
    reach: TimeRange,
    nowMs: EpochMs,
  ): Promise<LiveRead | Missing | null> {
    const { view } = definition;
    const { sketches, fields } = this.#needsOf(view, query);
    const { fromMs } = readRange(view, query, reach);
    // Sessions are followed beyond the range, and all of the open segment has to be of one state.
    const range = { fromMs, toMs: gapOf(view, query) === null ? reach.toMs : ALL_OF_TIME };
    const read = await this.#standings.look(definition, { ...range, sketches, fields });
    if (fields === null || read === null || "code" in read || query.toMs !== null) return read;
    // Which bucket is the newest one until now is seen from buckets, and of these only some were read.
    if ((read.lastBucket ?? nowMs) <= nowMs) return read;
    return this.#standings.look(definition, { ...range, sketches, fields: null });
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
  ): Promise<Live | "silent"> {
    try {
      const chain = this.#standings.chain(definition);
      const closed = await this.#closed(chain, definition, query, joined.closed);
      const window = await this.#window(query, definition.view, { manifest, closed, open: read, nowMs });
      const closedName = joined.closed.map(spanName).join();
      return { chain: read.chain, applied: joined.applied, closed, closedName, open: read.open, window };
    } catch (error) {
      if (error instanceof RedisSilent) return "silent";
      throw error;
    }
  }

  /** The closed segments; for a question that names its buckets and groups only the cells of these. */
  #closed(
    chain: Chain,
    definition: Definition,
    query: Query,
    segments: readonly SizedSegment[],
  ): Promise<readonly SegmentTile[]> {
    const { fields, sketches } = this.#needsOf(definition.view, query);
    const { fromMs, toMs } = query;
    if (fields === null || fields.length === 0 || sketches || fromMs === null || toMs === null)
      return this.#segments.all(chain, definition, segments);
    const { view } = definition;
    if (gapOf(view, query) !== null) return this.#segments.all(chain, definition, segments);
    const range = readRange(view, query, { fromMs, toMs });
    return this.#segments.keyed(chain, definition, segments, { ...range, fields });
  }

  async #alone(view: View, query: Query, manifest: Manifest, missing: Missing): Promise<Tiles> {
    const nowMs = this.#standings.now();
    const window = await this.#window(query, view, { manifest, closed: [], open: null, nowMs });
    return { manifest, live: null, standing: this.#standings.of(manifest, null, missing), window };
  }

  async #newestBuckets({ grainMs }: View, { manifest, closed, open, nowMs }: Newest): Promise<NewestBuckets> {
    const any = newestOf([
      await this.#batch.lastBucket(manifest, ALL_OF_TIME),
      open?.lastBucket ?? null,
      ...closed.map(({ lastBucket }) => lastBucket),
    ]);
    if (any === null || any <= nowMs) return { untilNow: any, any };
    // Of an open segment that was read in part, the newest bucket may not be among those that were.
    const ofOpen = [open?.lastBucket ?? null, ...(open?.open ?? []).map(({ bucket }) => bucket)];
    const untilNow = newestOf([
      // By the start of the bucket, so that files are read once a bucket and not with each request.
      await this.#batch.lastBucket(manifest, bucketOf(nowMs, grainMs)),
      ...ofOpen.filter((bucket) => bucket !== null && bucket <= nowMs),
      ...closed.map((segment) => segment.lastUntil(nowMs)),
    ]);
    return { untilNow, any };
  }

  /** Of a view that holds nothing until now, the last 24 hours are those before now. */
  async #window(query: Query, view: View, newest: Newest): Promise<Window> {
    const { nowMs } = newest;
    // A window that ends where the query says is the same whatever the view holds.
    const isGiven = query.toMs !== null;
    const { untilNow, any } = isGiven ? { untilNow: null, any: null } : await this.#newestBuckets(view, newest);
    const until = untilNow ?? bucketOf(nowMs, view.grainMs);
    const range = windowOf(query, view, { untilNow: until, any }, nowMs);
    const movesWithClock = !isGiven && (untilNow === null || (any !== null && any > nowMs));
    return { ...range, laterMs: !isGiven && any !== null && any >= range.toMs ? any : null, movesWithClock };
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

/** Whether an answer would be the same again. */
function isUnchanged(
  { manifest, chain, missing, rows, movesWithClock }: ReadAnswer,
  newest: Manifest,
  now: ChainState,
): boolean {
  if (missing !== null || rows.length === 0 || movesWithClock) return false;
  return manifest === newest && chain?.digest === now.digest;
}

/**
 * For a question with too many cells, of which the first ones cannot be found without holding all: says which of
 * `order` is in the way.
 */
function withoutOrder(error: OverBudget, view: View, query: Query): Refusal {
  const order = topOrder(view, query);
  const first = view.table === null ? "bucket, dimensions, and" : "the key, and by";
  const why =
    query.windowMs > query.everyMs
      ? "windows slide, so that all of them have to be held"
      : "unsortable" in order
        ? `sorted by ${order.unsortable}, all of them have to be held; sorted by ${first} measures that are a count, sum, min or max, only those up to limit`
        : "all of them have to be held";
  const { errors } = overBudget(error, view.table === null ? "view" : "table").problem;
  return new Refusal(400, "TOO_LARGE", `${error.message}; ${why}`, errors === undefined ? {} : { errors });
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

/**
 * Computes a calendar's buckets in turns, so that they are there when they are needed. What is wrong with them is found
 * then.
 */
async function warmCalendar({ calendar }: Query, { fromMs, toMs }: TimeRange): Promise<void> {
  if (calendar === null) return;
  await inTurns(calendarWork(calendar, fromMs, toMs), null).catch((error: unknown) => {
    if (!(error instanceof RangeError)) throw error;
  });
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
