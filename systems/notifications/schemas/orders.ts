import { instant, integer, stream, text } from "../../../core/definition/builders.ts";

/** An order that a customer has placed. */
export const orders = stream("placed-orders", {
  revision: 1,
  partitions: 3,
  key: "order_id",
  eventId: "order_id",
  eventTime: "placed_at",
  dedupWindow: 20_000,
  fields: {
    order_id: text({ max: 64 }),
    placed_at: instant(),
    customer: text({ max: 100 }),
    country: text({ max: 2 }),
    amount_cents: integer({ min: 1, max: 100_000_000 }),
  },
});
