import { orderCompleted } from "../../../schemas/order-completed.ts";
import { deadLetterTopic, ensureTopics, topicName } from "../../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../../store/kafka/produce/producer.ts";
import { pause } from "../../../store/pause.ts";
import { type OrderMaker, ordersOf } from "./orders.ts";

export interface SimulationOptions {
  readonly brokers: string;
  readonly namespace: string;
  readonly seed: number;
  /** Orders a second, on average. */
  readonly rate: number;
  /** The number of orders; without it the simulation runs until `stop`. */
  readonly count?: number;
  readonly stop: AbortSignal;
  readonly onProgress?: (progress: SimulationProgress) => void;
}

export interface SimulationProgress {
  readonly sent: number;
  readonly acknowledged: number;
  readonly seconds: number;
}

const tickMs = 10;
/** A shop does not sell afterwards what it could not sell while Kafka was away. */
const catchUpLimitMs = 1_000;

/** Sends orders to Kafka as they happen: completed now. On `stop` it waits for what was sent. */
export async function simulateOrders(options: SimulationOptions): Promise<SimulationProgress> {
  const { brokers, namespace, seed, rate, count = Number.POSITIVE_INFINITY, stop, onProgress } = options;
  const topic = topicName(namespace, orderCompleted.name);
  await ensureTopics(brokers, [
    { name: topic, partitions: orderCompleted.partitions },
    { name: deadLetterTopic(topic), partitions: 1 },
  ]);
  const producer = await openProducer({ brokers });
  const order = ordersOf(seed);
  const beganMs = performance.now();
  let sent = 0;
  let acknowledged = 0;
  const progress = () => ({ sent, acknowledged, seconds: (performance.now() - beganMs) / 1000 });
  try {
    for (let sinceMs = beganMs; sent < count && !stop.aborted; await pause(tickMs, { signal: stop })) {
      const nowMs = performance.now();
      sinceMs = Math.max(sinceMs, nowMs - catchUpLimitMs);
      const size = Math.min(Math.floor(((nowMs - sinceMs) * rate) / 1000), count - sent);
      if (size === 0) continue;
      sinceMs += (size * 1000) / rate;
      const records = ordersAsRecords(order, sent, size, Date.now());
      sent += size;
      await producer.send(topic, records);
      acknowledged += size;
      onProgress?.(progress());
    }
  } finally {
    await producer.close();
  }
  return progress();
}

function ordersAsRecords(order: OrderMaker, from: number, size: number, now: number) {
  return Array.from({ length: size }, (_, i) => {
    const event = order(from + i, now);
    return { key: event.order_id, value: JSON.stringify(event) };
  });
}

export interface OrderLinesOptions {
  readonly seed: number;
  readonly count: number;
  /** When the first order was completed, epoch ms; the others follow at `rate` a second. */
  readonly from: number;
  readonly rate: number;
}

/** The same orders as text for a file: one JSON event a line, in pieces of some thousand lines. */
export function* orderLines({
  seed,
  count,
  from,
  rate,
}: OrderLinesOptions): Generator<{ text: string; lines: number }> {
  const order = ordersOf(seed);
  for (let first = 0; first < count; first += 5_000) {
    const lines = Math.min(5_000, count - first);
    const events = Array.from({ length: lines }, (_, i) =>
      order(first + i, from + Math.floor(((first + i) * 1000) / rate)),
    );
    yield { text: `${events.map((event) => JSON.stringify(event)).join("\n")}\n`, lines };
  }
}
