import { count, max, sql, sum, view } from "../../../core/definition/builders.ts";
import { orders } from "../schemas/orders.ts";

/** Orders and their worth in each country, minute by minute. */
export const ordersByCountry = view("orders-by-country", {
  stream: orders,
  by: { country: sql`country` },
  every: "1 minute",
  measures: {
    orders: count({ unit: "orders" }),
    revenue: sum(sql`amount_cents`, { unit: "EUR", scale: 2 }),
    largest: max(sql`amount_cents`, { unit: "EUR", scale: 2 }),
  },
});
