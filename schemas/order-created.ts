import { flag } from "../core/contract/fields.ts";
import { type EventOf, stream } from "../core/contract/stream.ts";
import { cents, id, items, region, time } from "./order-fields.ts";

/** A customer placed an order: the first event of its life. */
export const orderCreated = stream("order-created", {
  revision: 1,
  partitions: 3,
  key: "order_id",
  eventId: "event_id",
  eventTime: "created_at",
  dedupWindow: 20_000,
  fields: {
    event_id: id,
    order_id: id,
    created_at: time,
    region,
    buyer_id: id,
    items,
    /** Without tax. */
    amount_cents: cents,
    test_order: flag(),
  },
});

export type OrderCreated = EventOf<typeof orderCreated>;
