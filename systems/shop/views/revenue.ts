import { avg, count, distinct, max, min, quantile, sql, sum, view } from "../../../core/definition/builders.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";

/** What the shop earns, by region and category, minute by minute. Test orders do not count. */
export const revenue = view("revenue", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  by: { region: sql`region`, category: sql`category` },
  every: "1 minute",
  measures: {
    orders: count({ unit: "orders" }),
    revenue: sum(sql`amount_cents`, { unit: "cents" }),
    tax: sum(sql`tax_cents`, { unit: "cents" }),
    smallest: min(sql`amount_cents`, { unit: "cents" }),
    largest: max(sql`amount_cents`, { unit: "cents" }),
    average: avg(sql`amount_cents`, { unit: "cents" }),
    basket: quantile(sql`amount_cents`, { error: 0.05, unit: "cents" }),
    buyers: distinct(sql`buyer_id`, { unit: "buyers" }),
  },
});
