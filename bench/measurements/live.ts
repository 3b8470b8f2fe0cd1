import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { withInstallation } from "../setup/installation.ts";
import { usageOf } from "../setup/process-usage.ts";

const SUBSCRIBERS = 100;
const UPDATES = 20;
const ROUNDS = 3;
/** The shortest that the server allows between two answers of a stream. */
const INTERVAL_MS = 50;
const IDLE_MS = 3_000;
const GIVE_UP_MS = 10_000;

/**
 * Live streams: a hundred subscribers to one question, how long after Kafka's acknowledgement an order has reached each
 * of them, and how much of the server's processor one such update takes (beyond what it takes to hold the streams).
 */
export async function benchLive(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async (installation) => {
    await installation.role("speed").start();
    await installation.role("serve", "--rate-limit", "0").start();
    const port = installation.ports.api;
    const producer = await openProducer({ brokers: installation.brokers });
    const nowMs = Date.now();
    const range = `from=${nowMs - 3_600_000}&to=${nowMs + 3_600_000}&every=1d&by=`;
    const path = `/views/revenue/live?interval=${INTERVAL_MS}&measures=orders&${range}`;
    const subscribers = await Promise.all(
      Array.from({ length: SUBSCRIBERS }, () => Subscriber.open(port, path, GIVE_UP_MS)),
    );
    const before = (await usageOf(port)).cpuSeconds;
    await delay(IDLE_MS);
    const idleShare = ((await usageOf(port)).cpuSeconds - before) / (IDLE_MS / 1_000);
    const make = ordersOf(98);
    let sent = 0;
    const delays: number[][] = [];
    const costs: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const times: number[] = [];
      const [startMs, { cpuSeconds }] = [performance.now(), await usageOf(port)];
      for (let update = 0; update < UPDATES; update++) {
        const order = { ...make(sent, nowMs), test_order: false };
        await producer.send(orderCompleted.name, [{ key: order.order_id, value: JSON.stringify(order) }]);
        const acknowledgedMs = performance.now();
        sent += 1;
        const seenAtMs = await Promise.all(subscribers.map((subscriber) => subscriber.counts(sent)));
        times.push(...seenAtMs.map((atMs) => Math.max(0, atMs - acknowledgedMs)));
        await delay(20 + Math.random() * INTERVAL_MS);
      }
      const spent = (await usageOf(port)).cpuSeconds - cpuSeconds;
      costs.push(((spent - idleShare * ((performance.now() - startMs) / 1_000)) / UPDATES) * 1_000);
      delays.push(times);
      report(`round ${round} of ${ROUNDS}: p50 ${Math.round(quantile(times, 0.5))} ms`);
    }
    for (const subscriber of subscribers) subscriber.close();
    await producer.close();
    const what = `from acknowledged to each of ${SUBSCRIBERS} live subscribers, asked every ${INTERVAL_MS} ms`;
    const of = (share: number) => delays.map((times) => quantile(times, share));
    return [
      limit(`${what}, p50`, "ms", null, of(0.5)),
      limit(`${what}, p99`, "ms", null, of(0.99)),
      limit(`processor time of the server for one update to ${SUBSCRIBERS} subscribers`, "ms", null, costs),
    ];
  });
}

/** One stream of server-sent events, and how many orders its newest answer counts. */
class Subscriber {
  readonly #request: ClientRequest;
  readonly #giveUpMs: number;
  #text = "";
  #orders = 0;
  #seenAtMs = 0;
  #waiting: { readonly orders: number; readonly resolve: (atMs: number) => void } | null = null;

  private constructor(request: ClientRequest, giveUpMs: number) {
    this.#request = request;
    this.#giveUpMs = giveUpMs;
  }

  static open(port: number, path: string, giveUpMs: number): Promise<Subscriber> {
    return new Promise((resolve, reject) => {
      const headers = { accept: "text/event-stream" };
      const asked = request({ port, path, headers, agent: false }, (response: IncomingMessage) => {
        if (response.statusCode !== 200) return reject(new Error(`${path}: ${response.statusCode}`));
        const subscriber = new Subscriber(asked, giveUpMs);
        response.setEncoding("utf8").on("data", (text: string) => subscriber.#take(text));
        response.on("error", () => undefined);
        resolve(subscriber);
      });
      asked.on("error", reject).end();
    });
  }

  /** When it was told of this many orders. */
  counts(orders: number): Promise<number> {
    if (this.#orders >= orders) return Promise.resolve(this.#seenAtMs);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("a subscriber was not told")), this.#giveUpMs);
      this.#waiting = {
        orders,
        resolve: (atMs) => {
          clearTimeout(late);
          resolve(atMs);
        },
      };
    });
  }

  close(): void {
    this.#request.destroy();
  }

  #take(text: string): void {
    const events = (this.#text + text).split("\n\n");
    this.#text = events.pop() ?? "";
    for (const event of events) {
      const data = /^data: ?(.*)$/m.exec(event)?.[1];
      if (data === undefined) continue;
      const { rows = [] } = JSON.parse(data) as { rows?: readonly { orders: number }[] };
      this.#orders = rows.reduce((sum, row) => sum + row.orders, 0);
      this.#seenAtMs = performance.now();
    }
    const waiting = this.#waiting;
    if (waiting === null || this.#orders < waiting.orders) return;
    this.#waiting = null;
    waiting.resolve(this.#seenAtMs);
  }
}
