import { count, sql, sum, topK, view } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/** Counts the lines of events, not the events. */
export const lines = view("lines", {
  stream: ticks,
  where: sql`NOT test`,
  each: "items",
  by: { place: sql`place` },
  every: "30 minutes",
  measures: {
    events: count(),
    units: sum(sql`item.quantity`),
    best: topK(sql`item.sku`, { weight: sql`item.quantity`, show: 3 }),
  },
});
