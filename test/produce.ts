import { Kafka, logLevel, Partitioners } from "kafkajs";
import { ordersOf } from "../systems/shop/orders/orders.ts";

export interface RawRecord {
  readonly key: string;
  readonly value: Buffer | null;
}

/** Sends records with kafkajs, so that what the tests put into the log did not pass through our producer. */
export async function produce(brokers: string, topic: string, records: readonly RawRecord[]): Promise<void> {
  const producer = new Kafka({ clientId: "test", brokers: brokers.split(","), logLevel: logLevel.NOTHING }).producer({
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  for (let start = 0; start < records.length; start += 5_000)
    await producer.send({
      topic,
      acks: -1,
      messages: records.slice(start, start + 5_000).map(({ key, value }) => ({ key, value })),
    });
  await producer.disconnect();
}

/**
 * Orders as a bad network and careless producers deliver them: some twice (at once and a while later), some late, and
 * some that are none. The same for the same seed.
 */
export function messyOrders(seed: number, count: number, nowMs: number): RawRecord[] {
  const make = ordersOf(seed);
  const records: RawRecord[] = [];
  const record = (index: number, timeMs: number) => {
    const order = make(index, timeMs);
    return { key: order.order_id, value: Buffer.from(JSON.stringify(order)) };
  };
  for (let index = 0; index < count; index++) {
    const timeMs = nowMs - (count - index) * 10 - (index % 20 === 0 ? 3_600_000 : 0);
    const made = record(index, timeMs);
    records.push(made);
    if (index % 50 === 7) records.push(made);
    if (index % 70 === 11 && index > 400)
      records.push(
        record(index - 400, nowMs - (count - index + 400) * 10 - ((index - 400) % 20 === 0 ? 3_600_000 : 0)),
      );
    if (index % 90 === 13)
      records.push({
        key: made.key,
        value:
          [
            null,
            Buffer.from("{"),
            Buffer.from([0xff, 0x00]),
            Buffer.from(JSON.stringify({ ...JSON.parse(String(made.value)), amount_cents: -1 })),
          ][Math.floor(index / 90) % 4] ?? null,
      });
    if (index % 110 === 17)
      records.push({
        key: `pretty-${index}`,
        value: Buffer.from(JSON.stringify({ ...make(index + 10_000_000, timeMs), note: "extra" }, null, 2)),
      });
  }
  return records;
}
