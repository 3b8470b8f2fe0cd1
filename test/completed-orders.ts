import type { RawRecord } from "./produce.ts";

const START = Date.parse("2025-06-01T00:00:00Z");

/**
 * Records `from` up to `to` of the stream `order-completed`, one every `everyMs`: two regions, five categories, 97
 * buyers, and every tenth is a test.
 */
export function completedOrders(from: number, to: number, everyMs = 1_000): RawRecord[] {
  return Array.from({ length: to - from }, (_, index) => {
    const id = from + index;
    const value = {
      event_id: `e${id}`,
      order_id: `o${id}`,
      completed_at: START + id * everyMs,
      region: id % 2 === 0 ? "eu" : "us",
      category: `c${id % 5}`,
      buyer_id: `b${id % 97}`,
      amount_cents: id % 1_000,
      test_order: id % 10 === 0,
    };
    return { key: `o${id}`, value: Buffer.from(JSON.stringify(value)) };
  });
}
