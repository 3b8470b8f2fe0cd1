import { count, distinct, last, sql, sum, view } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/** One row for all events, test events too, so that every record that is lost or counted twice changes it. */
export const totals = view("totals", {
  stream: ticks,
  every: "10 minutes",
  measures: {
    events: count(),
    amount: sum(sql`amount`),
    ids: distinct(sql`id`),
    last_id: last(sql`id`),
  },
});
