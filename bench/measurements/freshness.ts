import { setTimeout as delay } from "node:timers/promises";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { type EventProducer, openProducer } from "../../store/kafka/produce/producer.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { HttpConnection } from "../load/http-connection.ts";
import { startLoad } from "../load/load-process.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";

/** Events a second beside the marks, and the bars: 30 ms is the aim when there is next to nothing to do. */
const RATES = [
  { eventsPerSecond: 100, p50: 30, p99: 100 },
  { eventsPerSecond: 5_000, p50: null, p99: 100 },
  { eventsPerSecond: 50_000, p50: null, p99: null },
] as const;
const ROUNDS = 3;
const MARKS = 100;
/** Time between two marks, so that they do not follow the rhythm of anything. */
const PAUSE_MS = { least: 20, most: 60 };
const SETTLE_MS = 3_000;
const GIVE_UP_MS = 10_000;
/** Between two looks: what is measured is up to so much too long. */
const LOOK_EVERY_MS = 2;

/**
 * How long it takes until an event shows over HTTP, from Kafka's acknowledgement on: orders of a category of their own
 * are sent one by one, each time asking for that category until the answer counts it. That is what somebody sees who
 * asks again and again; nothing is waited for in the server. The shop's five views of orders are kept, by the speed
 * layer and the server as processes of their own; the load is a third one.
 */
export async function benchFreshness(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async (installation) => {
    await installation.role("speed").start();
    await installation.role("serve", "--rate-limit", "0").start();
    const producer = await openProducer({ brokers: installation.brokers });
    const marks = await Marks.open(installation, producer);
    const figures: Figure[] = [];
    for (const [index, { eventsPerSecond, p50, p99 }] of RATES.entries()) {
      const load = await startLoad(installation, { eventsPerSecond, seed: index + 1 });
      await delay(SETTLE_MS);
      const rounds: number[][] = [];
      for (let round = 1; round <= ROUNDS; round++) {
        const times = await marks.measure(MARKS);
        rounds.push(times);
        const [half, most] = [quantile(times, 0.5), quantile(times, 0.99)].map((ms) => Math.round(ms ?? 0));
        report(`${eventsPerSecond} events/s, round ${round} of ${ROUNDS}: p50 ${half} ms, p99 ${most} ms`);
      }
      await load.stop();
      const what = `from acknowledged to visible over HTTP at ${eventsPerSecond.toLocaleString("en-US")} events/s`;
      const of = (share: number) => rounds.map((times) => quantile(times, share));
      figures.push(limit(`${what}, p50`, "ms", p50, of(0.5)), limit(`${what}, p99`, "ms", p99, of(0.99)));
    }
    marks.close();
    await producer.close();
    return figures;
  });
}

/** Single orders that can be told from all others, and how long each took to show. */
class Marks {
  readonly #producer: EventProducer;
  readonly #connection: HttpConnection;
  readonly #make = ordersOf(99);
  #sent = 0;

  private constructor(producer: EventProducer, connection: HttpConnection) {
    this.#producer = producer;
    this.#connection = connection;
  }

  static async open({ ports }: Installation, producer: EventProducer): Promise<Marks> {
    return new Marks(producer, await HttpConnection.open(ports.api));
  }

  /** Milliseconds of each mark. Throws when one does not show. */
  async measure(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let mark = 0; mark < count; mark++) {
      times.push(await this.#once());
      await delay(PAUSE_MS.least + Math.random() * (PAUSE_MS.most - PAUSE_MS.least));
    }
    return times;
  }

  close(): void {
    this.#connection.close();
  }

  async #once(): Promise<number> {
    const nowMs = Date.now();
    const order = { ...this.#make(this.#sent++, nowMs), region: "eu", category: "mark", test_order: false };
    await this.#producer.send(orderCompleted.name, [{ key: order.order_id, value: JSON.stringify(order) }]);
    const acknowledgedMs = performance.now();
    while ((await this.#counted(nowMs)) < this.#sent) {
      if (performance.now() - acknowledgedMs > GIVE_UP_MS)
        throw new Error(
          `an order does not show within ${GIVE_UP_MS / 1_000} seconds: the rate is more than this machine takes`,
        );
      await delay(LOOK_EVERY_MS);
    }
    return performance.now() - acknowledgedMs;
  }

  async #counted(nowMs: number): Promise<number> {
    const range = `from=${nowMs - 3_600_000}&to=${nowMs + 3_600_000}&every=1d`;
    const path = `/views/revenue?${range}&measures=orders&where[region]=eu&where[category]=mark`;
    const { status, body } = await this.#connection.get(path);
    if (status !== 200) return 0;
    const { rows } = JSON.parse(body.toString()) as { rows: { orders: number }[] };
    return rows.reduce((sum, { orders }) => sum + orders, 0);
  }
}
