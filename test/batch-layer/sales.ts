import { instant, integer, oneOf, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { view } from "../../core/definition/view.ts";
import { type Cut, cutFromJson } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { distinct } from "../../core/measures/kinds/distinct.ts";
import { max, min } from "../../core/measures/kinds/extremes.ts";
import { sum } from "../../core/measures/kinds/sum.ts";

export const DEDUP_WINDOW = 20;

/** A small stream whose dedup window is shorter than the archive's chunks in some tests, and longer in others. */
export const sales = stream("sales", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: DEDUP_WINDOW,
  fields: {
    id: text({ max: 32 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" }),
    shop: oneOf("north", "south"),
    cents: integer({ min: -1_000_000, max: 1_000_000 }),
  },
});

export const turnover = view("turnover", {
  stream: sales,
  where: sql`cents <> 0`,
  by: { shop: sql`shop` },
  every: "1 hour",
  measures: {
    sales: count(),
    cents: sum(sql`cents`),
    lowest: min(sql`cents`),
    highest: max(sql`cents`),
    ids: distinct(sql`id`),
  },
});

const T0 = Date.parse("2025-06-01T00:00:00Z");

/** An event as its producer writes it; every seventh has cents 0 and is filtered. */
export function sale(id: number): string {
  return JSON.stringify({
    id: `s${id}`,
    at: T0 + id * 60_000,
    shop: id % 3 === 0 ? "north" : "south",
    cents: id % 7 === 0 ? 0 : ((id * 37) % 1_000) - 300,
  });
}

export const positions = (json: Record<number, bigint | number>): Cut =>
  cutFromJson(Object.fromEntries(Object.entries(json).map(([p, o]) => [p, String(o)])));
