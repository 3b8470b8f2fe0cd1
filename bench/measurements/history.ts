import { execa } from "execa";
import { topicName } from "../../core/contract/topic-names.ts";
import { randomNumbers, seedState } from "../../core/numbers/random.ts";
import { type EventRecord, openProducer } from "../../store/kafka/produce/producer.ts";
import { categories, product, regions } from "../../systems/shop/simulator/catalogue.ts";
import { customerOf } from "../../systems/shop/simulator/customers.ts";
import { type Delivery, delivered } from "../../systems/shop/simulator/disorder.ts";
import type { ShopEvent } from "../../systems/shop/simulator/event.ts";
import { lifeOf } from "../../systems/shop/simulator/order-life.ts";
import { shopStreams } from "../../systems/shop/simulator/simulate.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";

const EVENTS = 3_000_000;
/** What is not archived yet when orders are asked for. */
const TAIL = 30_000;
const BATCH = 20_000;
const ASKED = 10;
const SEED = 7;
const START_MS = Date.UTC(2026, 2, 1);
const EVERY_MS = 25;
const DISORDER = { duplicates: 0.01, late: 0.05, malformed: 0.001, avro: 0 };
/** The topics that an order leaves events in. */
const streams = shopStreams.filter(({ name }) => name !== "user-activity");

/**
 * The events of one order among three million in five topics, archived but for a tail: the simulated shop's, some of
 * them repeated, late or malformed. Orders that are asked for lie far apart in the log, and none is asked for twice.
 */
export async function benchHistory(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({ temporal: true, env: { TIDELINE_SYSTEM: "systems/orders" } }, async (installation) => {
    const orders: string[] = [];
    const records = delivered(ofOrders(orders), SEED, DISORDER);
    await send(installation, records, EVENTS - TAIL);
    report(`${EVENTS} events of ${orders.length} orders`);
    await installation.role("worker", "--no-schedules").start();
    await installation.role("serve", "--rate-limit", "0").start();
    for (const { name } of streams)
      await execa(process.execPath, ["cli/tideline.js", "settle", name], { env: installation.env });
    report("settled");
    await send(installation, records, TAIL);
    const times: number[] = [];
    for (let index = 0; index < ASKED; index++) {
      const order = orders[Math.floor(((index + 0.5) * orders.length) / ASKED)] ?? "";
      const startMs = performance.now();
      const response = await fetch(`http://127.0.0.1:${installation.ports.api}/history/order-view?key=${order}`);
      const { events = [] } = (await response.json()) as { events?: unknown[] };
      times.push((performance.now() - startMs) / 1_000);
      if (events.length < 2) throw new Error(`${order} has ${events.length} events: ${response.status}`);
    }
    const of = `of one order among ${EVENTS.toLocaleString("en-US")} of five topics`;
    return [
      limit(`the events ${of}, median of ${ASKED}`, "s", 2, [quantile(times, 0.5)]),
      limit(`the events ${of}, longest`, "s", 2, [Math.max(...times)]),
    ];
  });
}

async function send({ brokers }: Installation, records: Iterator<Delivery>, count: number): Promise<void> {
  const producer = await openProducer({ brokers });
  try {
    for (let sent = 0; sent < count; sent += BATCH) {
      const batches = new Map<string, EventRecord[]>();
      for (let index = sent; index < Math.min(count, sent + BATCH); index++) {
        const { stream, key, value } = (records.next() as IteratorYieldResult<Delivery>).value;
        const topic = topicName("", stream.name);
        const batch = batches.get(topic) ?? [];
        batches.set(topic, batch);
        batch.push({ key, value });
      }
      await Promise.all([...batches].map(([topic, batch]) => producer.send(topic, batch)));
    }
  } finally {
    await producer.close();
  }
}

/** The events of the shop's orders without end. Adds the orders, in the order of their events. */
function* ofOrders(orders: string[]): Generator<ShopEvent> {
  const random = randomNumbers(seedState(SEED), 0);
  const one = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
  for (let n = 0; ; n++) {
    const cart = Array.from({ length: 1 + Math.floor(3 * random()) }, () => product(one(categories).name, random()));
    const life = lifeOf(customerOf(one(regions), random()), cart, START_MS + n * EVERY_MS, {
      name: n.toString(36),
      random,
    });
    for (const event of life) {
      if (event.stream.name === "order-created") orders.push(String(event.event.order_id));
      yield event;
    }
  }
}
