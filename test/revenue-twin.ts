import type { Redis } from "ioredis";
import { expect } from "vitest";
import type { Answer } from "./installation.ts";
import { expectedRows, type OracleLog, type OracleRow, rowKey, sketchBytes, type Twin } from "./oracle.ts";

interface Order {
  readonly event_id: string;
  readonly completed_at: number;
  readonly region: string;
  readonly category: string;
  readonly buyer_id: string;
  readonly amount_cents: number;
  readonly test_order: boolean;
}

/** What `views/revenue.ts` says, in plain TypeScript. */
export const revenueTwin: Twin<Order> = {
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
    smallest: { kind: "min", of: (order) => order.amount_cents },
    largest: { kind: "max", of: (order) => order.amount_cents },
    average: { kind: "avg", of: (order) => order.amount_cents },
    buyers: { kind: "distinct", of: (order) => order.buyer_id },
  },
};

/** The parameters that ask `revenue` for everything it has. */
export const EVERYTHING = { from: "2020-01-01", to: "2100-01-01", limit: "100000" };

/**
 * Is this answer of `revenue` exactly the fold of `log` at the position that the answer itself states? Exact fields to the unit; distinct
 * as PFCOUNT of one key that every value was PFADDed to.
 */
export async function expectExact(
  answer: Answer,
  log: OracleLog,
  redis: Redis,
): Promise<ReadonlyMap<string, OracleRow>> {
  const applied = new Map(
    Object.entries(answer.position.applied).map(([partition, offset]) => [Number(partition), BigInt(offset)]),
  );
  const expected = expectedRows(revenueTwin, log, applied);
  expect(new Set(answer.rows.map(keyOf))).toEqual(new Set(expected.keys()));
  for (const row of answer.rows) {
    const want = expected.get(keyOf(row));
    expect(row).toMatchObject(want?.values ?? {});
    expect(row.buyers).toBe(await pfcount(redis, want?.seen.buyers ?? new Set()));
  }
  return expected;
}

function keyOf(row: Answer["rows"][number]): string {
  return rowKey(Date.parse(String(row.bucket)), [row.region ?? null, row.category ?? null]);
}

async function pfcount(redis: Redis, values: ReadonlySet<string>): Promise<number> {
  const key = `oracle:${Math.random()}`;
  const replies = await redis
    .pipeline()
    .pfadd(key, ...[...values].map(sketchBytes))
    .pfcount(key)
    .del(key)
    .exec();
  return Number(replies?.[1]?.[1]);
}
