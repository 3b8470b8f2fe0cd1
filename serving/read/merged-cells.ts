import type { View } from "../../core/definition/view.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { Budget, type BudgetLimits } from "../../core/query/budget.ts";
import type { RowExtent } from "../../core/query/extents.ts";
import { bucketStarts, type Query, type TimeRange } from "../../core/query/query.ts";
import type { TopOrder } from "../../core/query/top-order.ts";
import type { Cell } from "../../core/state/cells.ts";
import { badRequest } from "../common/problem.ts";
import { inTurns } from "../common/turns.ts";
import type { BatchPlan } from "./batch/batch-sql.ts";
import { type BatchStates, versionKey } from "./batch/batch-states.ts";
import { topCells } from "./batch/top-cells.ts";
import { type AnswerBase, AnswerBuilder, baseWeight } from "./cells/tile-cells.ts";
import { WeightedCache } from "./cells/weighted-cache.ts";
import { needsOf } from "./needs.ts";
import { ALL_OF_TIME, type Tiles, type Window } from "./reading.ts";
import { queryKey } from "./validators.ts";

/** Tiles, and which buckets of them are read. */
export interface RangedTiles extends Tiles {
  readonly range: TimeRange;
}

/** A query's cells, merged from tiles. What does not change between two records is kept. */
export class MergedCells {
  readonly #batch: BatchStates;
  readonly #limits: BudgetLimits;
  readonly #bases: WeightedCache<AnswerBase>;

  /** `most`: how many cells are kept. */
  constructor(batch: BatchStates, limits: BudgetLimits, most: number) {
    this.#batch = batch;
    this.#limits = limits;
    this.#bases = new WeightedCache(most, baseWeight);
  }

  /** The cells among which the first ones of an order are. */
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

  /** The cells of `range`, merged. */
  async all(view: View, query: Query, tiles: RangedTiles, budget: Budget): Promise<readonly Cell[]> {
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
    { manifest, live, window, range }: RangedTiles,
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
    const { components } = needsOf(view, query);
    const starts = startsOf(view, query, window);
    const calendar = query.calendar === null || starts === null ? null : { grain: query.calendar, starts };
    return { view, ...range, everyMs, calendar, by, where, components };
  }

  #builder(view: View, query: Query, window: Window, budget: Budget): AnswerBuilder {
    const wanted = needsOf(view, query).components.map(({ key }) => key);
    return new AnswerBuilder(view, query, window, wanted, budget);
  }

  /** Where in event time there is anything. */
  async extents({ manifest, live }: Tiles): Promise<readonly RowExtent[]> {
    const tiles = [
      ...(live?.open ?? []),
      ...(live?.closed ?? []).flatMap((segment) => segment.within(-ALL_OF_TIME, ALL_OF_TIME)),
    ];
    return [
      ...(await this.#batch.extents(manifest)),
      ...tiles.map(({ bucket, groups }) => ({ fromMs: bucket, lastMs: bucket, rows: groups.length })),
    ];
  }
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
