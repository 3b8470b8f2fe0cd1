import { integer, text } from "../core/contract/fields.ts";
import { type EventOf, stream } from "../core/contract/stream.ts";
import { id, region, time } from "./order-fields.ts";

/** A warehouse put an order's items aside. */
export const inventoryReserved = stream("inventory-reserved", {
  revision: 1,
  partitions: 3,
  key: "order_id",
  eventId: "event_id",
  eventTime: "reserved_at",
  dedupWindow: 20_000,
  fields: {
    event_id: id,
    order_id: id,
    reserved_at: time,
    region,
    warehouse: text({ max: 32 }),
    units: integer({ min: 1, max: 1_000_000 }),
  },
});

export type InventoryReserved = EventOf<typeof inventoryReserved>;
