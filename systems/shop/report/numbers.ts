import type { ReportSource } from "../../../batch-layer/report/report.ts";
import type { View } from "../../../core/definition/view.ts";
import type { TimeRange } from "../../../core/interval.ts";
import { productsOf } from "./products.ts";
import { comparedDays, salesOf } from "./sales.ts";
import type { ReportNumbers } from "./summary.ts";

const SALES = "revenue";
const PRODUCTS = "top-products";

/** The views that the report's numbers come from: sales, and products. */
export const REPORT_VIEWS = [SALES, PRODUCTS] as const;

/**
 * The numbers of the pinned day at the pin's cuts, from the archive's events by the views' own SQL. Throws
 * REPORT_TOO_LARGE.
 */
export async function reportNumbers(pin: TimeRange, source: ReportSource): Promise<ReportNumbers> {
  const { duck, budget } = source;
  const [sales, products] = [source.view(SALES), source.view(PRODUCTS)];
  const orders = await source.events(SALES, comparedDays(pin));
  const lines = await source.events(PRODUCTS, comparedDays(pin));
  const quality = await source.quality();
  return {
    sales: orders === null ? NO_SALES : await salesOf({ duck, events: orders, budget }, sales, pin),
    products: lines === null ? [] : await productsOf({ duck, events: lines, budget }, products, pin),
    quality,
    units: unitsOf(sales),
  };
}

const NONE: readonly number[] = Array.from({ length: 24 }, () => 0);
const NO_SALES: ReportNumbers["sales"] = {
  day: {},
  dayBefore: {},
  weekBefore: {},
  by: {},
  hours: { day: NONE, dayBefore: NONE, weekBefore: NONE },
};

function unitsOf({ measures }: View): Record<string, string> {
  return Object.fromEntries(Object.entries(measures).map(([name, { unit }]) => [name, unit]));
}
