import { setTimeout as delay } from "node:timers/promises";
import { orderCompleted } from "../../schemas/order-completed.ts";
import type { EventProducer } from "../../store/kafka/produce/producer.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import type { Installation } from "../setup/installation.ts";
import { HttpConnection } from "./http-connection.ts";

/** Time between two probes, so that they do not follow the rhythm of anything. */
const PAUSE_MS = { least: 20, most: 60 };
const GIVE_UP_MS = 10_000;
/** Time between two reads: what is measured is up to this much too long. */
const READ_EVERY_MS = 2;

/** Single orders that can be told from all others, and how long each took to show. */
export class Probes {
  readonly #producer: EventProducer;
  readonly #connection: HttpConnection;
  readonly #make = ordersOf(99);
  #sent = 0;

  private constructor(producer: EventProducer, connection: HttpConnection) {
    this.#producer = producer;
    this.#connection = connection;
  }

  static async open({ ports }: Installation, producer: EventProducer): Promise<Probes> {
    return new Probes(producer, await HttpConnection.open(ports.api));
  }

  /** Milliseconds of each probe. Throws when one does not show. */
  async measure(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let probe = 0; probe < count; probe++) {
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
    const order = { ...this.#make(this.#sent++, nowMs), region: "eu", category: "probe", test_order: false };
    await this.#producer.send(orderCompleted.name, [{ key: order.order_id, value: JSON.stringify(order) }]);
    const acknowledgedMs = performance.now();
    while ((await this.#counted(nowMs)) < this.#sent) {
      if (performance.now() - acknowledgedMs > GIVE_UP_MS)
        throw new Error(
          `an order does not show within ${GIVE_UP_MS / 1_000} seconds: the rate is more than this machine takes`,
        );
      await delay(READ_EVERY_MS);
    }
    return performance.now() - acknowledgedMs;
  }

  async #counted(nowMs: number): Promise<number> {
    const range = `from=${nowMs - 3_600_000}&to=${nowMs + 3_600_000}&every=1d`;
    const path = `/views/revenue?${range}&measures=orders&where[region]=eu&where[category]=probe`;
    const { status, body } = await this.#connection.get(path);
    if (status !== 200) return 0;
    const { rows } = JSON.parse(body.toString()) as { rows: { orders: number }[] };
    return rows.reduce((sum, { orders }) => sum + orders, 0);
  }
}
