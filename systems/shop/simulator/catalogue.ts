import { mix, normal, randomNumbers } from "../../../core/numbers/random.ts";

/** What the shop sells, and where. */

export interface Category {
  readonly name: string;
  readonly share: number;
  /** The price of a typical item, and how far prices spread around it (standard deviation of the logarithm). */
  readonly typicalCents: number;
  readonly spread: number;
}

export const categories: readonly Category[] = [
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

/** Where customers live: the clock that they live by, and the tax that they pay. */
export const regions = [
  { name: "eu", share: 44, zone: "Europe/Berlin", taxPercent: 20 },
  { name: "us", share: 33, zone: "America/New_York", taxPercent: 7 },
  { name: "apac", share: 16, zone: "Asia/Singapore", taxPercent: 9 },
  { name: "latam", share: 7, zone: "America/Sao_Paulo", taxPercent: 17 },
] as const;

export type Region = (typeof regions)[number];

/** Prices are log-normal and end in 9. `a` and `b` are even chances. */
export function priceCents(typicalCents: number, spread: number, a: number, b: number): number {
  return Math.max(10, Math.round((typicalCents * Math.exp(spread * normal(a, b))) / 10) * 10) - 1;
}

export interface Product {
  readonly sku: string;
  readonly category: string;
  readonly unitCents: number;
}

const productsOfCategory = 50;

/** Products by category, the most popular first. The price of a product does not depend on the seed. */
const products: ReadonlyMap<string, readonly Product[]> = new Map(
  categories.map(({ name, typicalCents, spread }, index) => [
    name,
    Array.from({ length: productsOfCategory }, (_, rank) => {
      const random = randomNumbers(mix(index * productsOfCategory + rank + 1), 0);
      return {
        sku: `${name}-${String(rank + 1).padStart(2, "0")}`,
        category: name,
        unitCents: priceCents(typicalCents, spread, random(), random()),
      };
    }),
  ]),
);

/**
 * Some product of a category: the tenth is asked for a tenth as often as the first (Zipf, by the inverse of its
 * continuous form).
 */
export function product(category: string, chance: number): Product {
  const found = products.get(category)?.[Math.floor((productsOfCategory + 1) ** chance) - 1];
  if (found === undefined) throw new RangeError(`no product of ${category}`);
  return found;
}
