import { count, max, quantile, sql, view } from "../../../core/definition/builders.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";

/**
 * How long orders take, hour by hour. Events of version 1 know no earlier times: they are orders, but not among the
 * timed ones.
 */
export const orderDurations = view("order-durations", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  by: { region: sql`region` },
  every: "1 hour",
  measures: {
    orders: count({ unit: "orders" }),
    timed: count({ where: sql`created_at IS NOT NULL`, unit: "orders" }),
    to_reserve: quantile(sql`reserved_at - created_at`, { error: 0.05, unit: "ms" }),
    to_pay: quantile(sql`paid_at - reserved_at`, { error: 0.05, unit: "ms" }),
    to_complete: quantile(sql`completed_at - created_at`, { error: 0.05, unit: "ms" }),
    longest: max(sql`completed_at - created_at`, { unit: "ms" }),
  },
});
