import { avg, count, distinct, first, histogram, last, max, min, quantile, ratio, sql, sum, view } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/** Every kind of measure. */
export const everything = view("everything", {
  stream: ticks,
  where: sql`NOT test`,
  by: { place: sql`place`, good: sql`good` },
  every: "5 minutes",
  measures: {
    events: count(),
    total: sum(sql`amount`),
    least: min(sql`amount`),
    most: max(sql`amount`),
    mean_tip: avg(sql`tip`),
    amounts: distinct(sql`amount`),
    spread: quantile(sql`amount`, { error: 0.02, at: [0.01, 0.5, 0.9] }),
    tip_bins: histogram(sql`tip`, { edges: [10, 50, 90] }),
    first_tip: first(sql`tip`),
    last_place: last(sql`place`),
    good_share: ratio(count({ where: sql`good` }), count()),
  },
});
