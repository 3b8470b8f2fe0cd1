import { count, max, sql, topK, view } from "tideline";
import { readings } from "../schemas/readings.ts";

/** The recorder serves it with another grain: its adoption is under way when the release ends. */
export const gusts = view("gusts", {
  stream: readings,
  each: "gusts",
  where: sql`NOT manual`,
  every: "1 day",
  measures: {
    gusts: count(),
    strongest: max(sql`item.speed`, { unit: "km/h" }),
    windiest: topK(sql`station`, { weight: sql`item.speed` }),
  },
});
