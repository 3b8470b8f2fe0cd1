import { avg, count, histogram, quantile, sql, sum, view } from "../../../core/definition/builders.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";

/** How large orders are, hour by hour, to the percent. */
export const baskets = view("baskets", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  by: { region: sql`region` },
  every: "1 hour",
  measures: {
    orders: count({ unit: "orders" }),
    average: avg(sql`amount_cents`, { unit: "cents" }),
    amount: quantile(sql`amount_cents`, { error: 0.01, at: [0.1, 0.5, 0.9, 0.99], unit: "cents" }),
    spread: histogram(sql`amount_cents`, { edges: [1_000, 2_500, 5_000, 10_000, 25_000, 50_000], unit: "orders" }),
    tax: sum(sql`tax_cents`, { unit: "cents" }),
  },
});
