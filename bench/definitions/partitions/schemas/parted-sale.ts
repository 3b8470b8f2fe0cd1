import { instant, integer, oneOf, stream, text } from "tideline";

/** Sales of a topic with many partitions, of which each remembers the ids of 10,000 records. */
export const partedSale = stream("parted-sale", {
  revision: 1,
  partitions: 256,
  key: "sale_id",
  eventId: "sale_id",
  eventTime: "sold_at",
  dedupWindow: 10_000,
  fields: {
    sale_id: text({ max: 36 }),
    sold_at: instant({ from: "2020-01-01", to: "2040-01-01" }),
    region: text({ max: 24 }),
    product: text({ max: 24 }),
    user_id: text({ max: 24 }),
    channel: oneOf("web", "app", "shop"),
    amount_cents: integer({ min: 0, max: 1_000_000_000 }),
    quantity: integer({ min: 1, max: 1_000 }),
  },
});
