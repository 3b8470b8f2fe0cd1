import { count, distinct, sql, view } from "../../../core/definition/builders.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";

/** Who buys, hour by hour. Adding up hours to days counts everybody once. */
export const activeBuyers = view("active-buyers", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  by: { region: sql`region` },
  every: "1 hour",
  measures: {
    orders: count({ unit: "orders" }),
    buyers: distinct(sql`buyer_id`, { unit: "buyers" }),
  },
});
