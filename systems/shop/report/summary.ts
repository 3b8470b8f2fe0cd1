import type { StreamQuality } from "../../../batch-layer/report/quality.ts";
import type { ReportIdentity } from "../../../batch-layer/report/report.ts";
import { DAY_MS, dayOf } from "../../../core/interval.ts";
import { formatTime } from "../../../core/time.ts";
import type { Product } from "./products.ts";
import { numberIn, type Sales, type Totals } from "./sales.ts";

/** All numbers of a report. */
export interface ReportNumbers {
  readonly sales: Sales;
  readonly products: readonly Product[];
  readonly quality: Readonly<Record<string, StreamQuality>>;
  /** Units of measures, by name: `cents` are shown as hundredths. */
  readonly units: Readonly<Record<string, string>>;
}

const PRODUCTS_IN_SUMMARY = 10;

/** The report's `summary.json`: a function of its identity and numbers, so that a rerun gives it again to the byte. */
export function summaryOf({ date, edition, pin }: ReportIdentity, { sales, products, quality, units }: ReportNumbers) {
  const { day, dayBefore, weekBefore, by, hours } = sales;
  return {
    report: "daily",
    date,
    from: formatTime(pin.fromMs),
    to: formatTime(pin.toMs),
    edition,
    pinnedAt: formatTime(pin.pinnedAtMs),
    dayIsOver: pin.pinnedAtMs >= pin.toMs,
    units,
    day,
    comparedWith: {
      dayBefore: { date: dayOf(pin.fromMs - DAY_MS), ...dayBefore, change: changes(day, dayBefore) },
      weekBefore: { date: dayOf(pin.fromMs - 7 * DAY_MS), ...weekBefore, change: changes(day, weekBefore) },
    },
    by: Object.fromEntries(
      Object.entries(by).map(([dimension, groups]) => [
        dimension,
        groups.map(({ group, day: now, dayBefore: before }) => ({
          [dimension]: group,
          ...now,
          change: changes(now, before),
        })),
      ]),
    ),
    revenueByHour: hours.day,
    topProducts: products.slice(0, PRODUCTS_IN_SUMMARY),
    quality,
    views: pin.views,
    position: pin.streams,
  };
}

export type Summary = ReturnType<typeof summaryOf>;

const COMPARED = ["orders", "revenue", "average", "buyers"] as const;

/** By how much measures changed, relative to before: 0.1 is ten per cent more; null where there was nothing. */
export function changes(now: Totals, before: Totals): Record<string, number | null> {
  const compared = COMPARED.filter((name) => name in now || name in before);
  return Object.fromEntries(compared.map((name) => [name, change(numberIn(now, name), numberIn(before, name))]));
}

function change(now: number, before: number): number | null {
  return before === 0 ? null : Math.round((now / before - 1) * 10_000) / 10_000;
}
