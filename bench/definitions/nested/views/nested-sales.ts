import { avg, count, distinct, max, min, sql, sum, view } from "tideline";
import { nestedSale, writtenSale } from "../schemas/nested-sale.ts";

/** The views of `sale` over the same events in objects. */

export const nestedSalesByRegion = view("nested-sales-by-region", {
  stream: nestedSale,
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

export const nestedSalesByProduct = view("nested-sales-by-product", {
  stream: nestedSale,
  by: { product: sql`product` },
  every: "1 minute",
  measures: { sales: count(), cents: sum(sql`amount_cents`) },
});

export const nestedSalesByChannel = view("nested-sales-by-channel", {
  stream: nestedSale,
  by: { channel: sql`channel` },
  every: "1 minute",
  measures: { sales: count(), units: sum(sql`quantity`), basket: avg(sql`amount_cents`) },
});

export const nestedLargeSales = view("nested-large-sales", {
  stream: nestedSale,
  where: sql`amount_cents >= 50000`,
  by: { region: sql`region`, channel: sql`channel` },
  every: "1 minute",
  measures: { sales: count(), largest: max(sql`amount_cents`) },
});

export const nestedSalesByHour = view("nested-sales-by-hour", {
  stream: nestedSale,
  by: { region: sql`region` },
  every: "1 hour",
  measures: { sales: count(), cents: sum(sql`amount_cents`), units: sum(sql`quantity`) },
});

export const writtenSalesByRegion = view("written-sales-by-region", {
  stream: writtenSale,
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

export const writtenSalesByProduct = view("written-sales-by-product", {
  stream: writtenSale,
  by: { product: sql`product` },
  every: "1 minute",
  measures: { sales: count(), cents: sum(sql`amount_cents`) },
});

export const writtenSalesByChannel = view("written-sales-by-channel", {
  stream: writtenSale,
  by: { channel: sql`channel` },
  every: "1 minute",
  measures: { sales: count(), units: sum(sql`quantity`), basket: avg(sql`amount_cents`) },
});

export const writtenLargeSales = view("written-large-sales", {
  stream: writtenSale,
  where: sql`amount_cents >= 50000`,
  by: { region: sql`region`, channel: sql`channel` },
  every: "1 minute",
  measures: { sales: count(), largest: max(sql`amount_cents`) },
});

export const writtenSalesByHour = view("written-sales-by-hour", {
  stream: writtenSale,
  by: { region: sql`region` },
  every: "1 hour",
  measures: { sales: count(), cents: sum(sql`amount_cents`), units: sum(sql`quantity`) },
});
