import { count, distinct, max, min, sql, sum, view } from "tideline";
import { readings, samples } from "../schemas/readings.ts";

const asked = {
  where: sql`good`,
  by: { place: sql`place` },
  every: "1 hour",
  measures: {
    readings: count(),
    total: sum(sql`amount`),
    least: min(sql`amount`),
    most: max(sql`amount`),
    notes: distinct(sql`note`),
  },
} as const;

export const ofReadings = view("of-readings", { stream: readings, ...asked });
export const ofSamples = view("of-samples", { stream: samples, ...asked });

export const ofLines = view("of-lines", {
  stream: readings,
  each: "lines",
  every: "1 day",
  measures: { lines: count(), units: sum(sql`item.units`) },
});
