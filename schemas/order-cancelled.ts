import { flag, oneOf } from "../core/contract/fields.ts";
import { type EventOf, stream } from "../core/contract/stream.ts";
import { cents, id, region, time } from "./order-fields.ts";

/** An order ended without being completed. */
export const orderCancelled = stream("order-cancelled", {
  revision: 1,
  partitions: 3,
  key: "order_id",
  eventId: "event_id",
  eventTime: "cancelled_at",
  dedupWindow: 20_000,
  fields: {
    event_id: id,
    order_id: id,
    cancelled_at: time,
    created_at: time,
    region,
    buyer_id: id,
    reason: oneOf("out-of-stock", "payment-declined", "changed-mind", "fraud-suspected"),
    /** The last step that the order had reached. */
    step: oneOf("created", "reserved", "paid"),
    amount_cents: cents,
    test_order: flag(),
  },
});

export type OrderCancelled = EventOf<typeof orderCancelled>;
