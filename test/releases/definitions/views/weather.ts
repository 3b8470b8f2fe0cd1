import { avg, count, distinct, last, max, min, quantile, sql, sum, view } from "tideline";
import { readings } from "../schemas/readings.ts";

/** The recorder begins with a coarser grain and changes it: one generation is kept beside the one that is served. */
export const weather = view("weather", {
  stream: readings,
  by: { station: sql`station` },
  every: "1 hour",
  measures: {
    readings: count(),
    wind: sum(sql`wind`, { unit: "km/h" }),
    coldest: min(sql`celsius`),
    warmest: max(sql`celsius`),
    mean: avg(sql`celsius`),
    spread: quantile(sql`wind`, { error: 0.05 }),
    stations: distinct(sql`station`),
    latest: last(sql`id`),
  },
});
