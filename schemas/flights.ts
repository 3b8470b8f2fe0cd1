import { instant, integer, text } from "../core/contract/fields.ts";
import { stream } from "../core/contract/stream.ts";

/** One departure of the US domestic flights of 2001 (the `flights-3m` data set of vega-datasets). */
export const flights = stream("flights", {
  revision: 1,
  partitions: 4,
  key: "origin",
  // The row's number in the source: 191 rows are repeated there, so what they hold is not an identity.
  eventId: "row",
  eventTime: "departed_at",
  dedupWindow: 50_000,
  fields: {
    row: integer({ min: 0, max: 1_000_000_000 }),
    departed_at: instant({ from: "1987-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" }),
    delay_minutes: integer({ min: -10_000, max: 100_000 }),
    distance_miles: integer({ min: 0, max: 100_000 }),
    origin: text({ max: 8 }),
    destination: text({ max: 8 }),
  },
});
