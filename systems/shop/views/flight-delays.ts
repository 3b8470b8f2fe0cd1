import { count, quantile, sql, view } from "../../../core/definition/builders.ts";
import { flights } from "../../../schemas/flights.ts";

/**
 * How late flights leave each airport, day by day (UTC). Apart from `flights-by-origin`: quantiles cost a cell for
 * every bin, and a query for sums does not need to read them.
 */
export const flightDelays = view("flight-delays", {
  stream: flights,
  by: { origin: sql`origin` },
  every: "1 day",
  measures: {
    flights: count({ unit: "flights" }),
    delay: quantile(sql`delay_minutes`, { error: 0.05, unit: "minutes" }),
  },
});
