import { mix, pick, randomNumbers, seedState } from "../../../core/numbers/random.ts";
import type { OrderCompletedV1 } from "../../../schemas/order-completed.ts";
import { type Category, categories, priceCents, regions } from "../simulator/catalogue.ts";

/**
 * Completed orders by themselves, in version 1 of their event. They are a pure function of seed and index, so a run can
 * be repeated and any order of it made alone.
 */

const customers = 40_000;
const testOrderShare = 0.004;

/** Makes the order with `index` (from 0) of the run that `seed` names, completed at `completedAt` (epoch ms). */
export type OrderMaker = (index: number, completedAt: number) => OrderCompletedV1;

/** The orders of one run. Ids hold seed and index: unique within a run, and between runs of different seeds. */
export function ordersOf(seed: number): OrderMaker {
  const run = seed.toString(36);
  const state = seedState(seed);
  return (index, completedAt) => {
    const random = randomNumbers(mix(state) ^ mix(index), Math.floor(index / 2 ** 32));
    const category = pick(categories, random());
    const number = `${run}-${index.toString(36)}`;
    return {
      event_id: `e-${number}`,
      order_id: `o-${number}`,
      completed_at: completedAt,
      region: pick(regions, random()).name,
      category: category.name,
      buyer_id: buyer(random()),
      amount_cents: amountCents(category, random(), random(), random()),
      test_order: random() < testOrderShare,
    };
  };
}

/** A few customers buy often, most seldom: squaring bends even chances towards the low numbers. */
function buyer(chance: number): string {
  return `b-${Math.floor(chance * chance * customers)}`;
}

/** Every third basket or so holds more than one item. */
function amountCents({ typicalCents, spread }: Category, a: number, b: number, more: number): number {
  const price = priceCents(typicalCents, spread, a, b);
  const items = more < 0.64 ? 1 : more < 0.86 ? 2 : more < 0.95 ? 3 : 5;
  return price * items;
}
