import { joined, last, max, sql, sum, table } from "../../../core/definition/builders.ts";
import { inventoryReserved } from "../../../schemas/inventory-reserved.ts";
import { orderCancelled } from "../../../schemas/order-cancelled.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";
import { orderCreated } from "../../../schemas/order-created.ts";
import { paymentProcessed } from "../../../schemas/payment-processed.ts";

/** The newest event of every order in each of the topics where an order has one event. */
const created = table("orders-created", { stream: orderCreated, key: sql`order_id` });
const reserved = table("orders-reserved", { stream: inventoryReserved, key: sql`order_id` });
const completed = table("orders-completed", { stream: orderCompleted, key: sql`order_id` });
const cancelled = table("orders-cancelled", { stream: orderCancelled, key: sql`order_id` });

/** An order may be paid at the second try. */
const paid = table("orders-paid", {
  stream: paymentProcessed,
  key: sql`order_id`,
  measures: {
    tries: sum(sql`1`),
    paid: sum(sql`CASE WHEN outcome = 'paid' THEN 1 ELSE 0 END`),
    charged_cents: sum(sql`CASE WHEN outcome = 'paid' THEN charged_cents ELSE 0 END`),
    paid_at: max(sql`CASE WHEN outcome = 'paid' THEN processed_at END`),
    method: last(sql`method`),
  },
});

/** Where every order stands, what it is worth, and when it came there. */
export const orderView = joined("order-view", {
  doc: "Every order: its state, amounts and times, from the five topics of its life.",
  tables: { created, reserved, paid, completed, cancelled },
  columns: {
    state: sql`CASE
      WHEN cancelled IS NOT NULL THEN 'cancelled'
      WHEN completed IS NOT NULL THEN 'completed'
      WHEN paid.paid > 0 THEN 'paid'
      WHEN paid IS NOT NULL THEN 'declined'
      WHEN reserved IS NOT NULL THEN 'reserved'
      ELSE 'created' END`,
    region: sql`coalesce(created.region, completed.region, cancelled.region, reserved.region)`,
    buyer_id: sql`coalesce(created.buyer_id, completed.buyer_id, cancelled.buyer_id)`,
    amount_cents: sql`coalesce(completed.amount_cents, cancelled.amount_cents, created.amount_cents)`,
    charged_cents: sql`paid.charged_cents`,
    units: sql`reserved.units`,
    payments: sql`coalesce(paid.tries, 0)`,
    reason: sql`cancelled.reason`,
    created_at: sql`created.created_at`,
    reserved_at: sql`reserved.reserved_at`,
    paid_at: sql`make_timestamp_ms(paid.paid_at)`,
    completed_at: sql`completed.completed_at`,
    cancelled_at: sql`cancelled.cancelled_at`,
    took_ms: sql`epoch_ms(coalesce(completed.completed_at, cancelled.cancelled_at)) - epoch_ms(created.created_at)`,
  },
});
