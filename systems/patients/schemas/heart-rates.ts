import { instant, integer, stream, text } from "../../../core/definition/builders.ts";

/**
 * A patient's heart rate, as a monitor measures it. Keyed by patient, so that one patient's readings keep their order.
 */
export const heartRates = stream("heart-rates", {
  revision: 1,
  partitions: 3,
  key: "patient_id",
  eventId: "reading_id",
  eventTime: "measured_at",
  dedupWindow: 20_000,
  fields: {
    reading_id: text({ max: 64 }),
    patient_id: text({ max: 64 }),
    measured_at: instant(),
    /** Beats a minute. */
    bpm: integer({ min: 0, max: 400 }),
  },
});
