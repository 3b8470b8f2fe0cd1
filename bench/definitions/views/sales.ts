import { avg, count, distinct, max, min, sql, sum, view } from "tideline";
import { sale } from "../schemas/sale.ts";

/**
 * Five views of the throughput benchmark. The first two are what other systems were measured with on the same kind of
 * machine.
 */

export const salesByRegion = view("sales-by-region", {
  stream: sale,
  by: { region: sql`region` },
  every: "1 minute",
  measures: {
    sales: count(),
    cents: sum(sql`amount_cents`),
    smallest: min(sql`amount_cents`),
    largest: max(sql`amount_cents`),
    buyers: distinct(sql`user_id`),
  },
});

export const salesByProduct = view("sales-by-product", {
  stream: sale,
  by: { product: sql`product` },
  every: "1 minute",
  measures: { sales: count(), cents: sum(sql`amount_cents`) },
});

export const salesByChannel = view("sales-by-channel", {
  stream: sale,
  by: { channel: sql`channel` },
  every: "1 minute",
  measures: { sales: count(), units: sum(sql`quantity`), basket: avg(sql`amount_cents`) },
});

export const largeSales = view("large-sales", {
  stream: sale,
  where: sql`amount_cents >= 50000`,
  by: { region: sql`region`, channel: sql`channel` },
  every: "1 minute",
  measures: { sales: count(), largest: max(sql`amount_cents`) },
});

export const salesByHour = view("sales-by-hour", {
  stream: sale,
  by: { region: sql`region` },
  every: "1 hour",
  measures: { sales: count(), cents: sum(sql`amount_cents`), units: sum(sql`quantity`) },
});
