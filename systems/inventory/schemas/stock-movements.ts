import { instant, integer, oneOf, stream, text } from "../../../core/definition/builders.ts";

/** What happens to the stock of a warehouse. Keyed by SKU, so that the movements of one SKU keep their order. */
export const stockMovements = stream("stock-movements", {
  revision: 1,
  partitions: 3,
  key: "sku",
  eventId: "movement_id",
  eventTime: "at",
  dedupWindow: 20_000,
  fields: {
    movement_id: text({ max: 64 }),
    at: instant(),
    sku: text({ max: 40 }),
    warehouse: text({ max: 40 }),
    /** What was reserved is released when the reservation ends, be it because it is shipped. */
    kind: oneOf("received", "reserved", "released", "shipped"),
    quantity: integer({ min: 1, max: 1_000_000 }),
  },
});
