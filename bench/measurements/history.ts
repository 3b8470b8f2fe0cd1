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

/** They have three million events. */
const ORDERS = 780_000;
/** This many are archived when they are asked for; what follows is the end of the log, some 33,000. */
const ARCHIVED = 3_060_000;
const FIRST_ASKED = 8_000;
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
 * Fails if one of their events is missing.
 */
export async function benchHistory(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({ temporal: true, env: { TIDELINE_SYSTEM: "systems/orders" } }, async (installation) => {
    const shop = new Orders();
    const records = delivered(shop.events(), SEED, DISORDER);
    let sent = await send(installation, records, ARCHIVED);
    report(`${sent} events of ${shop.placed} orders`);
    await installation.role("worker", "--no-schedules").start();
    await installation.role("serve", "--rate-limit", "0").start();
    for (const { name } of streams)
      await execa(process.execPath, ["cli/tideline.js", "settle", name], { env: installation.env });
    report("settled");
    await installation.role("speed").start();
    sent += await send(installation, records, Number.POSITIVE_INFINITY);
    await applied(installation, sent);
    const times: number[] = [];
    for (const [order, wanted] of shop.asked) {
      const startMs = performance.now();
      const response = await fetch(`http://127.0.0.1:${installation.ports.api}/history/order-view?key=${order}`);
      const { events = [] } = (await response.json()) as { events?: { event: { event_id: string } }[] };
      times.push((performance.now() - startMs) / 1_000);
      const found = new Set(events.map(({ event }) => event.event_id));
      if (!wanted.every((id) => found.has(id)))
        throw new Error(`${order} has ${found.size} of ${wanted.length} events`);
    }
    const of = `of one order among ${sent.toLocaleString("en-US")} of five topics`;
    return [
      limit(`the events ${of}, median of ${times.length}`, "s", 2, [quantile(times, 0.5)]),
      limit(`the events ${of}, longest`, "s", 2, [Math.max(...times)]),
    ];
  });
}

/** Waits until the tables stand behind all records of the five topics. */
async function applied({ ports }: Installation, sent: number): Promise<void> {
  const endMs = performance.now() + 300_000;
  while (performance.now() < endMs) {
    const response = await fetch(`http://127.0.0.1:${ports.api}/tables`);
    const { tables } = (await response.json()) as {
      tables: { stream?: string; applied?: Record<string, string> | null }[];
    };
    const ofStream = new Map(tables.map(({ stream, applied }) => [stream, Object.values(applied ?? {})]));
    const positions = streams.flatMap(({ name }) => ofStream.get(name) ?? []);
    if (positions.reduce((sum, one) => sum + Number(one), 0) >= sent) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error("the tables do not reach the end of the log within five minutes");
}

/** Sends records until there are no more, or enough; returns how many. */
async function send({ brokers }: Installation, records: Iterator<Delivery>, most: number): Promise<number> {
  const producer = await openProducer({ brokers });
  let [sent, isDone] = [0, false];
  try {
    while (!isDone && sent < most) {
      const batches = new Map<string, EventRecord[]>();
      for (let index = 0; index < BATCH && !isDone; index++) {
        const next = records.next();
        isDone = next.done === true;
        if (next.done === true) break;
        const { stream, key, value } = next.value;
        const topic = topicName("", stream.name);
        const batch = batches.get(topic) ?? [];
        batches.set(topic, batch);
        batch.push({ key, value });
        sent += 1;
      }
      await Promise.all([...batches].map(([topic, batch]) => producer.send(topic, batch)));
    }
  } finally {
    await producer.close();
  }
  return sent;
}

class Orders {
  placed = 0;
  /** The ids of the events of some orders. */
  readonly asked = new Map<string, string[]>();

  *events(): Generator<ShopEvent> {
    const random = randomNumbers(seedState(SEED), 0);
    const one = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
    for (; this.placed < ORDERS; this.placed++) {
      const cart = Array.from({ length: 1 + Math.floor(3 * random()) }, () => product(one(categories).name, random()));
      const run = { name: this.placed.toString(36), random };
      const life = lifeOf(customerOf(one(regions), random()), cart, START_MS + this.placed * EVERY_MS, run);
      if (this.placed % Math.floor(ORDERS / ASKED) === FIRST_ASKED)
        this.asked.set(
          String(life[0]?.event.order_id),
          life.map(({ event }) => String(event.event_id)),
        );
      yield* life;
    }
  }
}
