import { avg } from "../core/measures/avg.ts";
import { count } from "../core/measures/count.ts";
import { distinct } from "../core/measures/distinct.ts";
import { max, min } from "../core/measures/extremes.ts";
import { sum } from "../core/measures/sum.ts";
import { sql } from "../core/sql.ts";
import { view } from "../core/view.ts";
import { orderCompleted } from "../schemas/order-completed.ts";

/** What the shop earns, by region and category, minute by minute. Test orders do not count. */
export const revenue = view("revenue", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  by: { region: sql`region`, category: sql`category` },
  every: "1 minute",
  measures: {
    orders: count({ unit: "orders" }),
    revenue: sum(sql`amount_cents`, { unit: "cents" }),
    smallest: min(sql`amount_cents`, { unit: "cents" }),
    largest: max(sql`amount_cents`, { unit: "cents" }),
    average: avg(sql`amount_cents`, { unit: "cents" }),
    buyers: distinct(sql`buyer_id`, { unit: "buyers" }),
  },
});
