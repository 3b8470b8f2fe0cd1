import type { Field } from "../core/contract/field.ts";
import { decimal, flag, instant, integer, optional, text } from "../core/contract/fields.ts";
import { stream } from "../core/contract/stream.ts";

/** A stream of changes of customers, for tests of tables; with `more` fields. */
export function customerChanges(name: string, partitions: number, more: Readonly<Record<string, Field>> = {}) {
  return stream(name, {
    revision: 1,
    partitions,
    key: "customer",
    eventId: "id",
    eventTime: "at",
    dedupWindow: 100,
    fields: {
      id: text({ max: 40 }),
      customer: text({ max: 200 }),
      at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
      op: text({ max: 10 }),
      name: optional(text({ max: 200 })),
      balance: decimal({ scale: 2, min: -1e9, max: 1e9 }),
      visits: integer({ min: 0, max: 2 ** 53 - 1 }),
      member: optional(flag()),
      ...more,
    },
  });
}
