import { decimal, instant, integer, oneOf, stream, text } from "tideline";

const SHARED = {
  revision: 1,
  partitions: 4,
  key: "sale_id",
  eventId: "sale_id",
  eventTime: "sold_at",
  dedupWindow: 100_000,
} as const;

const fields = {
  sale_id: text({ max: 36, from: "$.payload.saleId" }),
  sold_at: instant({ from: "$.metadata.soldAt", min: "2020-01-01", max: "2040-01-01" }),
  region: text({ max: 24, from: "$.payload.store.region" }),
  product: text({ max: 24, from: "$.payload.item.productId" }),
  user_id: text({ max: 24, from: "$.payload.userId" }),
  channel: oneOf("web", "app", "shop", { from: "$.metadata.channel" }),
  amount_cents: integer({ min: 0, max: 1_000_000_000, from: "$.payload.item.amountCents" }),
  quantity: integer({ min: 1, max: 1_000, from: "$.payload.item.quantity" }),
};

/** The fields of `sale` as a producer in Java writes them: camel case, one to three objects down. */
export const nestedSale = stream("nested-sale", { ...SHARED, fields });

/** The same, with the time as ISO 8601 and the amount as a decimal in a text. */
export const writtenSale = stream("written-sale", {
  ...SHARED,
  fields: {
    ...fields,
    sold_at: instant({ as: "iso", from: "$.metadata.soldAt", min: "2020-01-01", max: "2040-01-01" }),
    amount_cents: decimal({ scale: 2, min: 0, max: 10_000_000, as: "text", from: "$.payload.item.amount" }),
  },
});
