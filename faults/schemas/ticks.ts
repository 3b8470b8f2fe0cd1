import { flag, instant, integer, list, optional, stream, text } from "tideline";

/**
 * A small stream with everything that can go wrong in a group; its dedup window is so short that its border is crossed
 * all the time.
 */
export const ticks = stream("ticks", {
  revision: 1,
  partitions: 3,
  key: "thing",
  tombstones: "delete",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 60,
  fields: {
    id: text({ max: 20 }),
    thing: text({ max: 20 }),
    at: instant({ from: "1960-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    place: optional(text({ max: 20 })),
    good: optional(flag()),
    amount: integer({ min: -1_000_000, max: 1_000_000 }),
    tip: optional(integer({ min: 0, max: 100 })),
    test: flag(),
    items: list({ sku: text({ max: 20 }), quantity: integer({ min: 1, max: 100 }) }, { max: 5 }),
  },
});
