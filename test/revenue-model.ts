import type { Redis } from "ioredis";
import { expectRows, positionOf } from "./exact.ts";
import type { Answer } from "./installation.ts";
import { expectedRows, type Model, type OracleLog, type OracleRow } from "./oracle.ts";

export interface Order {
  readonly event_id: string;
  readonly completed_at: number;
  readonly region: string;
  readonly category: string;
  readonly buyer_id: string;
  readonly amount_cents: number;
  /** Version 1 has none. */
  readonly tax_cents?: number;
  readonly test_order: boolean;
}

/** What `systems/shop/views/revenue.ts` says, in plain TypeScript. */
export const revenueModel: Model<Order> = {
  dedupWindow: 20_000,
  decode: (value) => {
    try {
      const order = JSON.parse(String(value)) as Order;
      return typeof order.event_id === "string" && Number.isInteger(order.amount_cents) && order.amount_cents >= 0
        ? order
        : null;
    } catch {
      return null;
    }
  },
  id: (order) => order.event_id,
  timeMs: (order) => order.completed_at,
  counted: (order) => !order.test_order,
  grainMs: 60_000,
  group: (order) => [order.region, order.category],
  measures: {
    orders: { kind: "count" },
    revenue: { kind: "sum", of: (order) => order.amount_cents },
    tax: { kind: "sum", of: (order) => order.tax_cents ?? 0 },
    smallest: { kind: "min", of: (order) => order.amount_cents },
    largest: { kind: "max", of: (order) => order.amount_cents },
    average: { kind: "avg", of: (order) => order.amount_cents },
    basket: { kind: "quantile", of: (order) => order.amount_cents, at: [0.5, 0.9, 0.99], error: 0.05 },
    buyers: { kind: "distinct", of: (order) => order.buyer_id },
  },
};

/** The parameters that ask `revenue` for everything it has. */
export const EVERYTHING = { from: "2020-01-01", to: "2100-01-01", limit: "100000" };

/** Is this answer of `revenue` exactly the fold of `log` at the position that the answer itself states? */
export async function expectExact(
  answer: Answer,
  log: OracleLog,
  redis: Redis,
): Promise<ReadonlyMap<string, OracleRow>> {
  const expected = expectedRows(revenueModel, log, positionOf(answer));
  await expectRows(answer, expected, ["region", "category"], redis);
  return expected;
}
