import { createHash } from "node:crypto";
import { flag, instant, integer, optional, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { view } from "../../core/definition/view.ts";
import { type Cut, position } from "../../core/log/position.ts";
import { avg } from "../../core/measures/kinds/avg.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { distinct } from "../../core/measures/kinds/distinct.ts";
import { max, min } from "../../core/measures/kinds/extremes.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { Registers, registerOf } from "../../core/numbers/hll.ts";

export const sales = stream("sales", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 100,
  fields: {
    id: text(),
    at: instant({ from: "1960-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    shop: optional(text()),
    online: flag(),
    floor: integer({ min: -10, max: 100 }),
    cents: optional(integer({ min: -1_000_000, max: 1_000_000 })),
    buyer: text(),
  },
});

export const takings = view("takings", {
  stream: sales,
  by: { shop: sql`shop`, online: sql`online`, floor: sql`floor` },
  every: "1 minute",
  measures: {
    sales: count(),
    cents: sum(sql`cents`, { unit: "cents" }),
    least: min(sql`cents`, { unit: "cents" }),
    most: max(sql`cents`, { unit: "cents" }),
    mean: avg(sql`cents`, { unit: "cents" }),
    buyers: distinct(sql`buyer`, { unit: "buyers" }),
  },
});
/** One that nobody publishes anything for. */
export const unborn = view("unborn", { stream: sales, every: "1 hour", measures: { sales: count() } });

interface Sale {
  readonly offset: number;
  readonly at: number;
  readonly shop: string | null;
  readonly online: boolean;
  readonly floor: number;
  readonly cents: number | null;
  readonly buyer: string;
}

export const START = Date.parse("2026-03-01T00:00:00Z");
export const HOUR = 3_600_000;

/** A repeatable stream of sales over six hours, not in order of time. */
function salesOf(total: number): Sale[] {
  const pick = (seed: number, below: number) => createHash("md5").update(`${seed}`).digest().readUInt32LE(0) % below;
  return Array.from({ length: total }, (_, offset) => ({
    offset,
    at: START + pick(offset * 7, 6 * HOUR),
    shop: ["north", "south", "null", null, 'a"b%_ é', '"null"', "tab\tline\r\nfeed"][pick(offset * 7 + 1, 7)] ?? null,
    online: pick(offset * 7 + 2, 2) === 1,
    floor: pick(offset * 7 + 3, 3) - 1,
    cents: pick(offset * 7 + 4, 10) === 0 ? null : pick(offset * 7 + 5, 10_000) - 2_000,
    buyer: `buyer-${pick(offset * 7 + 6, 400)}`,
  }));
}

export const LATER = Date.parse("2099-06-01T00:00:00Z");
/** The last fifty came more than a day after the others, and ten more from a clock that is wrong by decades. */
export const SALES = salesOf(3_060).map((sale) => {
  if (sale.offset < 3_000) return sale;
  return { ...sale, at: sale.offset < 3_050 ? sale.at + 30 * HOUR : LATER + sale.offset * 1_000 };
});

export function cutAt(offset: number): Cut {
  return new Map([[0, position(offset)]]);
}

type Fold = Record<string, unknown>;

/** The oracle: the answer by a plain loop over the events below `applied`. */
export function fold(
  applied: number,
  options: { from?: number; to?: number; every: number; by: (keyof Sale)[]; keep?: (sale: Sale) => boolean },
): Fold[] {
  const { from = -Infinity, to = Infinity, every, by, keep = () => true } = options;
  const groups = new Map<string, { bucket: number; sales: Sale[] }>();
  for (const sale of SALES.slice(0, applied)) {
    if (sale.at < from || sale.at >= to || !keep(sale)) continue;
    const bucket = Math.floor(sale.at / every) * every;
    const key = JSON.stringify([bucket, ...by.map((name) => sale[name])]);
    const held = groups.get(key) ?? { bucket, sales: [] };
    groups.set(key, held);
    held.sales.push(sale);
  }
  return [...groups.values()].map(({ bucket, sales }) => {
    const cents = sales.flatMap(({ cents }) => (cents === null ? [] : [cents]));
    const total = cents.reduce((a, b) => a + b, 0);
    const buyers = new Registers();
    for (const { buyer } of sales) {
      const { register, rank } = registerOf(createHash("md5").update(buyer).digest().readBigUInt64LE(8));
      buyers.offer(register, rank);
    }
    return {
      bucket: new Date(bucket).toISOString(),
      ...(every > 60_000 && (bucket < from || bucket + every > to) ? { partial: true } : {}),
      ...Object.fromEntries(by.map((name) => [name, sales[0]?.[name] ?? null])),
      sales: sales.length,
      cents: cents.length === 0 ? null : total,
      least: cents.length === 0 ? null : Math.min(...cents),
      most: cents.length === 0 ? null : Math.max(...cents),
      mean: cents.length === 0 ? null : total / cents.length,
      buyers: buyers.estimate(),
    };
  });
}

export function sorted(rows: readonly unknown[]): unknown[] {
  const canonical = (row: unknown) =>
    JSON.stringify(Object.entries(row as object).sort(([a], [b]) => (a < b ? -1 : 1)));
  return [...rows].sort((a, b) => (canonical(a) < canonical(b) ? -1 : 1));
}

export const WHOLE = `from=${START}&to=${START + 6 * HOUR}`;
export const whole = { from: START, to: START + 6 * HOUR };
