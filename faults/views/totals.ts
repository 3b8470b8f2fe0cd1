import { count, distinct, last, sql, sum, view } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/** Everything in one row, test events too: a record that is lost or counted twice shows here whatever it is. */
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
