import { oneOf } from "../core/contract/fields.ts";
import { type EventOf, stream } from "../core/contract/stream.ts";
import { cents, id, region, time } from "./order-fields.ts";

/** A payment was tried, and taken or refused. */
export const paymentProcessed = stream("payment-processed", {
  revision: 1,
  partitions: 3,
  key: "order_id",
  eventId: "event_id",
  eventTime: "processed_at",
  dedupWindow: 20_000,
  fields: {
    event_id: id,
    order_id: id,
    processed_at: time,
    region,
    buyer_id: id,
    method: oneOf("card", "wallet", "transfer"),
    outcome: oneOf("paid", "declined"),
    /** With tax. */
    charged_cents: cents,
  },
});

export type PaymentProcessed = EventOf<typeof paymentProcessed>;
