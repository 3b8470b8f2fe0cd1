import { flag, instant, integer, optional, text } from "../core/contract/fields.ts";
import { sql } from "../core/contract/sql.ts";
import { stream } from "../core/contract/stream.ts";
import { view } from "../core/definition/view.ts";
import { avg } from "../core/measures/kinds/avg.ts";
import { count } from "../core/measures/kinds/count.ts";
import { distinct } from "../core/measures/kinds/distinct.ts";
import { max, min } from "../core/measures/kinds/extremes.ts";
import { histogram } from "../core/measures/kinds/histogram.ts";
import { first, last } from "../core/measures/kinds/picks.ts";
import { quantile } from "../core/measures/kinds/quantile.ts";
import { ratio } from "../core/measures/kinds/ratio.ts";
import { sum } from "../core/measures/kinds/sum.ts";
import { topK } from "../core/measures/kinds/top-k.ts";
import type { GroupValue } from "../core/state/cells.ts";
import type { Model } from "./oracle.ts";

/** A small stream with everything that can go wrong in a group: text with quotes, booleans, nulls. */
export const ticks = stream("ticks", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 6,
  fields: {
    id: text({ max: 20 }),
    at: instant({ from: "1960-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    place: optional(text({ max: 20 })),
    good: optional(flag()),
    amount: integer({ min: -1_000_000, max: 1_000_000 }),
    tip: optional(integer({ min: 0, max: 100 })),
    test: flag(),
  },
});

export interface Tick {
  readonly id: string;
  readonly at: number;
  readonly place: string | null;
  readonly good: boolean | null;
  readonly amount: number;
  readonly tip: number | null;
  readonly test: boolean;
}

/** Every measure there is, over `ticks`. */
export const everything = view("everything", {
  stream: ticks,
  where: sql`NOT test`,
  by: { place: sql`place`, good: sql`good` },
  every: "1 minute",
  measures: {
    ticks: count(),
    total: sum(sql`amount`),
    tips: sum(sql`tip`),
    least: min(sql`amount`),
    most: max(sql`amount`),
    mean: avg(sql`amount`),
    mean_tip: avg(sql`tip`),
    amounts: distinct(sql`amount`),
    good_ticks: count({ where: sql`good` }),
    spread: quantile(sql`amount`, { error: 0.02, at: [0.01, 0.5, 0.9, 1] }),
    tip_bins: histogram(sql`tip`, { edges: [10, 50, 90] }),
    places: topK(sql`place`, { weight: sql`amount`, show: 3 }),
    first_tip: first(sql`tip`),
    last_place: last(sql`place`),
    good_share: ratio(count({ where: sql`good` }), count()),
  },
});

/** Two of the largest amounts in one cell leave 64 bits. */
export const scaled = view("scaled", {
  stream: ticks,
  by: {},
  every: "1 hour",
  measures: { sums: sum(sql`amount * 9000000000000`) },
});

/** What `everything` says, in plain TypeScript. */
export const everythingModel: Model<Tick> = {
  dedupWindow: 6,
  decode: (value) => {
    try {
      return value === null ? null : (JSON.parse(value.toString("utf8")) as Tick);
    } catch {
      return null;
    }
  },
  id: (tick) => tick.id,
  timeMs: (tick) => tick.at,
  counted: (tick) => !tick.test,
  grainMs: 60_000,
  group: (tick): GroupValue[] => [tick.place, tick.good],
  measures: {
    ticks: { kind: "count" },
    total: { kind: "sum", of: (tick) => tick.amount },
    tips: { kind: "sum", of: (tick) => tick.tip },
    least: { kind: "min", of: (tick) => tick.amount },
    most: { kind: "max", of: (tick) => tick.amount },
    mean: { kind: "avg", of: (tick) => tick.amount },
    mean_tip: { kind: "avg", of: (tick) => tick.tip },
    amounts: { kind: "distinct", of: (tick) => tick.amount },
    good_ticks: { kind: "count", where: (tick) => tick.good === true },
    spread: { kind: "quantile", of: (tick) => tick.amount, at: [0.01, 0.5, 0.9, 1], error: 0.02 },
    tip_bins: { kind: "histogram", of: (tick) => tick.tip, edges: [10, 50, 90] },
    places: { kind: "topK", of: (tick) => tick.place, weight: (tick) => tick.amount, show: 3 },
    first_tip: { kind: "first", of: (tick) => tick.tip },
    last_place: { kind: "last", of: (tick) => tick.place },
    good_share: { kind: "ratio", top: (tick) => tick.good === true, bottom: () => true },
  },
};
