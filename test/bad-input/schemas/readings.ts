import { flag, instant, integer, list, optional, stream, text, withDefault } from "tideline";

/** Of two streams the same contract: one is written to in JSON, the other in Avro. */
const definition = {
  revision: 1,
  partitions: 3,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 400,
  fields: {
    id: text({ max: 64 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    place: text({ max: 20 }),
    amount: integer({ min: -1_000_000_000, max: 1_000_000_000 }),
    note: optional(text({ max: 256 })),
    good: withDefault(flag(), true),
    lines: withDefault(list({ sku: text({ max: 20 }), units: integer({ min: 0, max: 1_000 }) }, { max: 200 }), []),
  },
} as const;

export const readings = stream("readings", definition);
export const samples = stream("samples", definition);
