import { avg, count, distinct, max, min, sql, sum, view } from "../../../core/definition/builders.ts";
import { flights } from "../../../schemas/flights.ts";

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
