import { rule, sql } from "../../../core/definition/builders.ts";
import { heartRates } from "../schemas/heart-rates.ts";

/** A heart that beats slower than 60 or faster than 100 times a minute: once a minute for each patient. */
export const heartRate = rule("heart-rate", {
  on: heartRates,
  key: sql`patient_id`,
  when: sql`bpm < 60 OR bpm > 100`,
  quiet: "1 minute",
  severity: "warning",
  says: sql`'heart rate ' || bpm || ' of patient ' || patient_id`,
});
