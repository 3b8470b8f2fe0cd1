import type { OrderCompletedV1 } from "../schemas/order-completed.ts";

/**
 * A modest shop that still writes version 1 of its event. Its orders are a pure function of seed and index, so a run can be repeated and any order of it made alone.
 */

interface Category {
  readonly name: string;
  readonly share: number;
  /** The price of a typical item, and how far prices spread around it (standard deviation of the logarithm). */
  readonly typicalCents: number;
  readonly spread: number;
}

const categories: readonly Category[] = [
  { name: "books", share: 26, typicalCents: 1_900, spread: 0.45 },
  { name: "grocery", share: 20, typicalCents: 3_400, spread: 0.55 },
  { name: "clothing", share: 16, typicalCents: 4_900, spread: 0.6 },
  { name: "toys", share: 10, typicalCents: 2_700, spread: 0.5 },
  { name: "beauty", share: 9, typicalCents: 2_300, spread: 0.5 },
  { name: "sports", share: 7, typicalCents: 5_900, spread: 0.7 },
  { name: "garden", share: 5, typicalCents: 4_200, spread: 0.8 },
  { name: "electronics", share: 5, typicalCents: 17_900, spread: 0.9 },
  { name: "furniture", share: 2, typicalCents: 28_900, spread: 0.7 },
];

const regions = [
  { name: "eu", share: 44 },
  { name: "us", share: 33 },
  { name: "apac", share: 16 },
  { name: "latam", share: 7 },
] as const;

const customers = 40_000;
const testOrderShare = 0.004;

/** Makes the order with `index` (from 0) of the run that `seed` names, completed at `completedAt` (epoch ms). */
export type OrderMaker = (index: number, completedAt: number) => OrderCompletedV1;

/** The orders of one run. Ids hold seed and index: unique within a run, and between runs of different seeds. */
export function ordersOf(seed: number): OrderMaker {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`a seed is a whole number from 0, not ${seed}`);
  const run = seed.toString(36);
  const state = mix(Math.floor(seed / 2 ** 32)) ^ (seed >>> 0);
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

/** Prices are log-normal and end in 9; every third basket or so holds more than one item. */
function amountCents({ typicalCents, spread }: Category, a: number, b: number, more: number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - a)) * Math.cos(2 * Math.PI * b); // Box-Muller
  const price = Math.max(10, Math.round((typicalCents * Math.exp(spread * normal)) / 10) * 10) - 1;
  const items = more < 0.64 ? 1 : more < 0.86 ? 2 : more < 0.95 ? 3 : 5;
  return price * items;
}

function pick<T extends { readonly share: number }>(choices: readonly T[], chance: number): T {
  const total = choices.reduce((sum, { share }) => sum + share, 0);
  let rest = chance * total;
  for (const choice of choices) {
    rest -= choice.share;
    if (rest < 0) return choice;
  }
  const [first] = choices;
  if (first === undefined) throw new RangeError("nothing to choose from");
  return first;
}

/** The finalizer of MurmurHash3: every bit of `value` changes half of the bits. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Numbers from 0 up to but not 1: mulberry32 (Tommy Ettinger). */
function randomNumbers(low: number, high: number): () => number {
  let state = (low + mix(high)) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
