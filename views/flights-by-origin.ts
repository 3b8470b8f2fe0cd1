import { avg } from "../core/measures/avg.ts";
import { count } from "../core/measures/count.ts";
import { distinct } from "../core/measures/distinct.ts";
import { max, min } from "../core/measures/extremes.ts";
import { sum } from "../core/measures/sum.ts";
import { sql } from "../core/sql.ts";
import { view } from "../core/view.ts";
import { flights } from "../schemas/flights.ts";

/** Departures of each airport, day by day (UTC). */
export const flightsByOrigin = view("flights-by-origin", {
  stream: flights,
  by: { origin: sql`origin` },
  every: "1 day",
  measures: {
    flights: count({ unit: "flights" }),
    delay: sum(sql`delay_minutes`, { unit: "minutes" }),
    average_delay: avg(sql`delay_minutes`, { unit: "minutes" }),
    earliest: min(sql`departed_at`, { unit: "epoch ms" }),
    latest: max(sql`departed_at`, { unit: "epoch ms" }),
    destinations: distinct(sql`destination`, { unit: "airports" }),
  },
});
