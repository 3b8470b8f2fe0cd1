import { flag, instant, integer, oneOf, text } from "../core/fields.ts";
import { type EventOf, stream } from "../core/stream.ts";

/** An order was paid and handed over. Keyed by order, so that one order's events keep their sequence. */
export const orderCompleted = stream("order-completed", {
  revision: 1,
  partitions: 3,
  key: "order_id",
  eventId: "event_id",
  eventTime: "completed_at",
  dedupWindow: 20_000,
  fields: {
    event_id: text({ max: 64 }),
    order_id: text({ max: 64 }),
    completed_at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    region: oneOf("eu", "us", "apac", "latam"),
    category: text({ max: 64 }),
    buyer_id: text({ max: 64 }),
    amount_cents: integer({ min: 0, max: 1_000_000_000 }),
    test_order: flag(),
  },
});

export type OrderCompleted = EventOf<typeof orderCompleted>;
