import { instant, integer, list, oneOf, text } from "../core/contract/fields.ts";

/** What the events of an order have in common. */

export const id = text({ max: 64 });
export const region = oneOf("eu", "us", "apac", "latam");
export const time = instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" });
export const cents = integer({ min: 0, max: 1_000_000_000 });

/** The lines of an order. */
export const items = list(
  {
    sku: text({ max: 64 }),
    category: text({ max: 64 }),
    quantity: integer({ min: 1, max: 10_000 }),
    unit_cents: integer({ min: 0, max: 100_000_000 }),
  },
  { max: 200 },
);
