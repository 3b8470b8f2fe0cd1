import { flag, optional, text, withDefault } from "../core/contract/fields.ts";
import { type EventOf, stream } from "../core/contract/stream.ts";
import { cents, id, items, region, time } from "./order-fields.ts";

/** What every version has. */
const fields = {
  event_id: id,
  order_id: id,
  completed_at: time,
  region,
  category: text({ max: 64, doc: "Of the whole order: that of its most valuable line." }),
  buyer_id: id,
  /** Without tax. */
  amount_cents: cents,
  test_order: flag(),
};

/** An order was paid and handed over. Keyed by order, so that one order's events keep their sequence. */
export const orderCompleted = stream("order-completed", {
  revision: 2,
  partitions: 3,
  key: "order_id",
  eventId: "event_id",
  eventTime: "completed_at",
  dedupWindow: 20_000,
  version: 2,
  fields: {
    ...fields,
    tax_cents: withDefault(cents, 0),
    items: withDefault(items, []),
    created_at: optional(time),
    reserved_at: optional(time),
    paid_at: optional(time),
  },
  previous: [{ version: 1, fields }],
});

export type OrderCompleted = EventOf<typeof orderCompleted>;

/** The event as version 1 had it. */
export type OrderCompletedV1 = Pick<OrderCompleted, keyof typeof fields>;
