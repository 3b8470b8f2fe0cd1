import type { View } from "../../core/definition/view.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { Budget, type BudgetLimits } from "../../core/query/budget.ts";
import type { RowExtent } from "../../core/query/extents.ts";
import { bucketStarts, type Query } from "../../core/query/query.ts";
import type { TopOrder } from "../../core/query/top-order.ts";
import type { Cell } from "../../core/state/cells.ts";
import { LAST_INSTANT } from "../../core/time.ts";
import { badRequest } from "../common/refusals.ts";
import { inTurns } from "../common/turns.ts";
import type { BatchPlan } from "./batch/batch-sql.ts";
import { type BatchStates, versionKey } from "./batch/batch-states.ts";
import { topCells } from "./batch/top-cells.ts";
import { type AnswerBase, AnswerBuilder, baseWeight } from "./cells/tile-cells.ts";
import { WeightedCache } from "./cells/weighted-cache.ts";
import type { SegmentTile } from "./live/segment-cache.ts";
import { needsOf } from "./needs.ts";
import type { Tiles, Window } from "./reading.ts";
import { queryKey } from "./validators.ts";

/** Tiles, and which buckets of them are read. */
export interface RangedTiles extends Tiles {
  readonly range: TimeRange;
}

/** A batch version and closed segments, merged for one query. */
interface Base extends AnswerBase {
  /** Weak, so that only the cache of segments decides how long they are kept. */
  readonly closed: readonly WeakRef<SegmentTile>[];
}

/** For this many queries the newest base is remembered. */
const MOST_NEWEST = 2_000;

/** The cells of a query, merged from tiles. The part that does not change between two records is cached. */
export class MergedCells {
  readonly #batch: BatchStates;
  readonly #limits: BudgetLimits;
  readonly #bases: WeightedCache<Base>;
  /** The newest base for each query and batch version, as long as `#bases` holds it. */
  readonly #newest = new Map<string, WeakRef<Base>>();

  /** `most`: the most cells that are cached. */
  constructor(batch: BatchStates, limits: BudgetLimits, most: number) {
    this.#batch = batch;
    this.#limits = limits;
    this.#bases = new WeightedCache<Base>(most, baseWeight);
  }

  /** Returns cells that include the first ones of an order. */
  async first(
    view: View,
    query: Query,
    tiles: RangedTiles & { readonly left: AbortSignal | null },
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

  /** Returns all cells of `range`, merged. */
  async all(view: View, query: Query, tiles: RangedTiles, budget: Budget): Promise<readonly Cell[]> {
    const { manifest, live, window, range } = tiles;
    const { fromMs, toMs } = range;
    const question = [versionKey(manifest), fromMs, toMs, mergedKey(query)].join(" ");
    const load = async (left: AbortSignal) => {
      const base = await this.#base(view, query, tiles, { before: this.#newest.get(question)?.deref() ?? null, left });
      this.#note(question, base);
      return base;
    };
    const base = await this.#bases.get(`${live?.closedName ?? "alone"} ${question}`, load, budget.left);
    const builder = this.#builder(view, query, window, budget);
    builder.begin(base);
    await inTurns(builder.addStored(live?.open ?? [], range), budget);
    return builder.table.cells();
  }

  /**
   * Merges batch version and closed segments, which do not change while the chain's last segment grows. Begins with
   * `before`, a base of the same query and version, if it is made of the first of these segments.
   */
  async #base(
    view: View,
    query: Query,
    { manifest, live, window, range }: RangedTiles,
    { before, left }: { readonly before: Base | null; readonly left: AbortSignal },
  ): Promise<Base> {
    const closed = live?.closed ?? [];
    const budget = new Budget(this.#limits, left);
    const builder = this.#builder(view, query, window, budget);
    const begun = before !== null && isBegun(before, closed) ? before : null;
    if (begun !== null) builder.begin(begun);
    else {
      const batch = await this.#batch.cells(manifest, this.#plan(view, query, { window, range }), left);
      budget.spend("rows", batch.rows);
      await inTurns(builder.addRolledUp(batch.tiles), budget);
    }
    for (const segment of closed.slice(begun?.closed.length ?? 0))
      await inTurns(builder.addStored(segment.within(range.fromMs, range.toMs), range), budget);
    return { ...builder.base(), closed: closed.map((segment) => new WeakRef(segment)) };
  }

  #note(question: string, base: Base): void {
    this.#newest.delete(question);
    this.#newest.set(question, new WeakRef(base));
    const [oldest] = this.#newest.keys();
    if (this.#newest.size > MOST_NEWEST && oldest !== undefined) this.#newest.delete(oldest);
  }

  #plan(
    view: View,
    query: Query,
    { window, range }: { readonly window: Window; readonly range: TimeRange },
  ): BatchPlan {
    const { everyMs, by, where } = query;
    const { components } = needsOf(view, query);
    const starts = startsOf(view, query, window);
    const calendar = query.calendar === null || starts === null ? null : { grain: query.calendar, starts };
    return { view, ...range, everyMs, calendar, by, where, components };
  }

  #builder(view: View, query: Query, window: Window, budget: Budget): AnswerBuilder {
    return new AnswerBuilder({ view, query, window }, needsOf(view, query), budget);
  }

  /** Returns the ranges of event time that have any rows. */
  async extents({ manifest, live }: Tiles): Promise<readonly RowExtent[]> {
    const tiles = [
      ...(live?.open ?? []),
      ...(live?.closed ?? []).flatMap((segment) => segment.within(-LAST_INSTANT, LAST_INSTANT)),
    ];
    return [
      ...(await this.#batch.extents(manifest)),
      ...tiles.map(({ bucket, groups }) => ({ fromMs: bucket, lastMs: bucket, rows: groups.size })),
    ];
  }
}

const mergedKeys = new WeakMap<Query, string>();

/** Returns the parts of a query that decide which cells are merged, except for the range. */
function mergedKey(query: Query): string {
  const known = mergedKeys.get(query);
  if (known !== undefined) return known;
  const key = queryKey({ ...query, fromMs: null, toMs: null, windowMs: 0, order: [], limit: 0 });
  mergedKeys.set(query, key);
  return key;
}

/** Whether a base is made of the first of these segments. */
function isBegun({ closed }: Base, segments: readonly SegmentTile[]): boolean {
  return closed.length <= segments.length && closed.every((held, index) => held.deref() === segments[index]);
}

/** Returns where the calendar's buckets start. If the calendar cannot be computed, the query is refused. */
function startsOf(view: View, query: Query, window: Window): readonly EpochMs[] | null {
  try {
    return bucketStarts(view, query, window);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const allowed = "a coarser or finer every, a shorter window, or another zone";
    throw badRequest([{ parameter: "every", problem: error.message, allowed }]);
  }
}
