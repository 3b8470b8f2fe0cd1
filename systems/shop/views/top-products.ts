import { count, distinct, sql, topK, view } from "../../../core/definition/builders.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";

/**
 * What sells best, hour by hour: each line of an order counts by itself. `every=1d` gives a day's list, in any time
 * zone.
 */
export const topProducts = view("top-products", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  each: "items",
  every: "1 hour",
  measures: {
    lines: count({ unit: "lines" }),
    products: distinct(sql`item.sku`, { unit: "products" }),
    units: topK(sql`item.sku`, { weight: sql`item.quantity`, show: 100, unit: "units" }),
    revenue: topK(sql`item.sku`, { weight: sql`item.quantity * item.unit_cents`, show: 100, unit: "cents" }),
  },
});
