import { flag, instant, integer, list, oneOf, text } from "../core/contract/fields.ts";
import { sql } from "../core/contract/sql.ts";
import { stream } from "../core/contract/stream.ts";
import { generationOf } from "../core/definition/generation.ts";
import { view } from "../core/definition/view.ts";
import { avg } from "../core/measures/kinds/avg.ts";
import { count } from "../core/measures/kinds/count.ts";
import { distinct } from "../core/measures/kinds/distinct.ts";
import { quantile } from "../core/measures/kinds/quantile.ts";
import { sum } from "../core/measures/kinds/sum.ts";
import { topK } from "../core/measures/kinds/top-k.ts";

/** A small shop: one stream, the two views of the nightly report over it, and its sales of any day. */

/** The day that is reported on. */
export const DATE = "2026-01-01";
export const DAY = Date.parse(DATE);
export const DAY_MS = 86_400_000;

export const sales = stream("sales", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 1_000,
  fields: {
    id: text({ max: 20 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    region: oneOf("eu", "us", "apac"),
    category: text({ max: 40 }),
    buyer: text({ max: 20 }),
    cents: integer({ min: 0, max: 10_000_000 }),
    test: flag(),
    items: list(
      {
        sku: text({ max: 40 }),
        quantity: integer({ min: 1, max: 100 }),
        unit_cents: integer({ min: 0, max: 1_000_000 }),
      },
      { max: 20 },
    ),
  },
});

const where = sql`NOT test`;

const revenue = view("revenue", {
  stream: sales,
  where,
  by: { region: sql`region`, category: sql`category` },
  every: "1 minute",
  measures: {
    orders: count({ unit: "orders" }),
    revenue: sum(sql`cents`, { unit: "cents" }),
    average: avg(sql`cents`, { unit: "cents" }),
    buyers: distinct(sql`buyer`, { unit: "buyers" }),
    basket: quantile(sql`cents`, { unit: "cents" }),
  },
});

const topProducts = view("top-products", {
  stream: sales,
  where,
  each: "items",
  every: "1 hour",
  measures: {
    units: topK(sql`item.sku`, { weight: sql`item.quantity` }),
    revenue: topK(sql`item.sku`, { weight: sql`item.quantity * item.unit_cents`, unit: "cents" }),
  },
});

export const definitions = {
  streams: new Map([[sales.name, sales]]),
  views: new Map(
    [revenue, topProducts].map((one) => [one.name, { view: one, generation: generationOf(one), file: "" }]),
  ),
};

export interface Sale {
  readonly id: string;
  readonly at: number;
  readonly region: string;
  readonly category: string;
  readonly buyer: string;
  readonly cents: number;
  readonly test: boolean;
  readonly items: readonly { readonly sku: string; readonly quantity: number; readonly unit_cents: number }[];
}

/**
 * The n-th sale of a day: products, amounts and hours in all variety, and a name that is dangerous in HTML and in a
 * spreadsheet.
 */
export function sale(day: number, n: number): Sale {
  const items = Array.from({ length: 1 + (n % 3) }, (_, line) => ({
    sku: (n + line) % 50 === 0 ? `=1+1<b>"x"&` : `sku-${(n * 7 + line * 13) % 180}`,
    quantity: 1 + ((n + line) % 4),
    unit_cents: 100 + ((n * 37 + line) % 900),
  }));
  return {
    id: `${day}-${n}`,
    at: DAY + day * DAY_MS + ((n * 7_919_000) % DAY_MS),
    region: ["eu", "us", "apac"][n % 3] ?? "eu",
    category: n % 7 === 0 ? "wine & <cheese>" : `c${n % 5}`,
    buyer: `b${n % 61}`,
    cents: items.reduce((total, { quantity, unit_cents }) => total + quantity * unit_cents, 0),
    test: n % 20 === 0,
    items,
  };
}
