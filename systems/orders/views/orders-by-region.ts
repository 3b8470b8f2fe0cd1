import { count, sql, sum, view } from "../../../core/definition/builders.ts";
import { orderCreated } from "../../../schemas/order-created.ts";

/** How many orders are placed in each region, minute by minute. */
export const ordersByRegion = view("orders-by-region", {
  stream: orderCreated,
  by: { region: sql`region` },
  every: "1 minute",
  measures: { orders: count({ unit: "orders" }), amount: sum(sql`amount_cents`, { unit: "cents" }) },
});
