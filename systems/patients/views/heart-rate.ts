import { avg, count, max, min, sql, view } from "../../../core/definition/builders.ts";
import { heartRates } from "../schemas/heart-rates.ts";

/** How fast each patient's heart beats, minute by minute. */
export const heartRate = view("heart-rate", {
  stream: heartRates,
  by: { patient: sql`patient_id` },
  every: "1 minute",
  measures: {
    readings: count({ unit: "readings" }),
    average: avg(sql`bpm`, { unit: "beats/min" }),
    lowest: min(sql`bpm`, { unit: "beats/min" }),
    highest: max(sql`bpm`, { unit: "beats/min" }),
  },
});
