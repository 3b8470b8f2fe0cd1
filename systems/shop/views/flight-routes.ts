import { count, sql, sum, topK, view } from "../../../core/definition/builders.ts";
import { flights } from "../../../schemas/flights.ts";

/** The routes with the most delay in all, day by day (UTC). */
export const flightRoutes = view("flight-routes", {
  stream: flights,
  every: "1 day",
  measures: {
    flights: count({ unit: "flights" }),
    delay: sum(sql`delay_minutes`, { unit: "minutes" }),
    most_delayed: topK(sql`origin || '-' || destination`, { weight: sql`delay_minutes`, show: 20, unit: "minutes" }),
  },
});
