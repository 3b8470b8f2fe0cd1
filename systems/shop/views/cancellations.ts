import { avg, count, ratio, sql, sum, view } from "../../../core/definition/builders.ts";
import { orderCancelled } from "../../../schemas/order-cancelled.ts";

/** Which orders are lost, why and where, hour by hour. */
export const cancellations = view("cancellations", {
  stream: orderCancelled,
  where: sql`NOT test_order`,
  by: { region: sql`region`, reason: sql`reason` },
  every: "1 hour",
  measures: {
    orders: count({ unit: "orders" }),
    lost: sum(sql`amount_cents`, { unit: "cents" }),
    reserved_share: ratio(count({ where: sql`step <> 'created'` }), count()),
    average_life: avg(sql`cancelled_at - created_at`, { unit: "ms" }),
  },
});
