import { cellsOver, coarser } from "../../../batch-layer/report/coarser.ts";
import { eventsIn } from "../../../batch-layer/report/source.ts";
import type { View } from "../../../core/definition/view.ts";
import { DAY_MS, type TimeRange } from "../../../core/interval.ts";
import { presentInteger } from "../../../core/measures/measure.ts";
import { type Cell, stateOf } from "../../../core/state/cells.ts";
import type { PartSource } from "./sales.ts";

/** One product of a day: integers, as text where a double would round them. */
export interface Product {
  readonly sku: string;
  readonly units: number | string;
  readonly revenue: number | string;
}

export const SHOWN_PRODUCTS = 100;

const MEASURES = ["units", "revenue"] as const;

/**
 * The products with the most revenue of the day, equal ones by units and then by name. The view `top-products` holds
 * every product's exact units and revenue; only what is shown is cut off. Throws REPORT_TOO_LARGE.
 */
export async function productsOf({ duck, events, budget }: PartSource, view: View, day: TimeRange): Promise<Product[]> {
  const daily = coarser(view, { grainMs: DAY_MS, by: [], measures: MEASURES });
  const cells = await cellsOver(duck, daily, eventsIn(view, events, [day]), budget);
  const [units, revenue] = MEASURES.map((name) => weightsOf(cells[0], name));
  const products = [...new Set([...(units?.keys() ?? []), ...(revenue?.keys() ?? [])])].map((sku) => ({
    sku,
    units: units?.get(sku) ?? 0n,
    revenue: revenue?.get(sku) ?? 0n,
  }));
  products.sort((a, b) => descending(a.revenue, b.revenue) || descending(a.units, b.units) || (a.sku < b.sku ? -1 : 1));
  return products
    .slice(0, SHOWN_PRODUCTS)
    .map(({ sku, units: sold, revenue: earned }) => ({ sku, units: shown(sold), revenue: shown(earned) }));
}

/** The weight of every item of a `topK`, not only of those that it presents. */
function weightsOf(cell: Cell | undefined, measure: string): ReadonlyMap<string, bigint> {
  const items = cell === undefined ? [] : stateOf(cell, measure).items("weights");
  return new Map([...items].map(([item, weight]) => [String(item), weight]));
}

function descending(a: bigint, b: bigint): number {
  return a === b ? 0 : a > b ? -1 : 1;
}

function shown(value: bigint): number | string {
  return presentInteger(value) as number | string;
}
