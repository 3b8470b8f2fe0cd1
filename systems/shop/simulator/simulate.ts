import { AvroSchema, avroSchemaText } from "../../../core/codec/avro/avro.ts";
import type { Stream } from "../../../core/contract/stream.ts";
import { inventoryReserved } from "../../../schemas/inventory-reserved.ts";
import { orderCancelled } from "../../../schemas/order-cancelled.ts";
import { orderCompleted } from "../../../schemas/order-completed.ts";
import { orderCreated } from "../../../schemas/order-created.ts";
import { paymentProcessed } from "../../../schemas/payment-processed.ts";
import { userActivity } from "../../../schemas/user-activity.ts";
import { deadLetterTopic, ensureTopics, topicName } from "../../../store/kafka/cluster/topics.ts";
import { type EventRecord, openProducer } from "../../../store/kafka/produce/producer.ts";
import { pause } from "../../../store/pause.ts";
import { type SchemaRegistry, subjectOf } from "../../../store/registry/registry.ts";
import { prepareStreams } from "../../../store/registry/registry-prepare.ts";
import { type AvroWriter, type Disorder, delivered } from "./disorder.ts";
import type { ShopEvent } from "./event.ts";
import { type ShopOptions, shopEvents } from "./shop.ts";

export const shopStreams: readonly Stream[] = [
  orderCreated,
  inventoryReserved,
  paymentProcessed,
  orderCompleted,
  orderCancelled,
  userActivity,
];

export interface ShopRun extends ShopOptions {
  readonly disorder: Disorder;
  /** The number of orders to place. The simulation ends then, even if later events of these orders are missing. */
  readonly count: number;
  readonly stop: AbortSignal;
  readonly onProgress: (progress: ShopProgress) => void;
}

export interface ShopProgress {
  /** Records that Kafka has acknowledged, and how many orders were placed. */
  readonly sent: number;
  readonly orders: number;
  readonly seconds: number;
}

const pieceRecords = 5_000;
const pauseMs = 20;

/**
 * Sends what happens in the shop: from `fromMs` on as fast as Kafka takes it, and once the present is reached, as it
 * happens. On `stop` it waits for what was sent. Throws as `ensureTopics`, `prepareStreams` and `EventProducer.send`
 * do.
 */
export async function simulateShop(
  servers: { readonly brokers: string; readonly namespace: string; readonly registry: SchemaRegistry },
  run: ShopRun,
): Promise<ShopProgress> {
  const { brokers, namespace, registry } = servers;
  const topicOf = (stream: Stream) => topicName(namespace, stream.name);
  await ensureTopics(
    brokers,
    shopStreams.flatMap((stream) => [
      { name: topicOf(stream), partitions: stream.partitions },
      { name: deadLetterTopic(topicOf(stream)), partitions: 1 },
    ]),
  );
  await prepareStreams(registry, shopStreams, (name) => topicName(namespace, name));
  const avro = await avroWriter(registry, topicOf);
  const beganMs = performance.now();
  const producer = await openProducer({ brokers });
  let sent = 0;
  let orders = 0;
  const progress = () => ({ sent, orders, seconds: (performance.now() - beganMs) / 1_000 });
  const events = ordersUpTo(run.count, shopEvents(run), () => {
    orders += 1;
  });
  const deliveries = delivered(events, run.seed, run.disorder, avro);
  let ahead = deliveries.next();
  try {
    while (ahead.done !== true && !run.stop.aborted) {
      const topics = new Map<string, EventRecord[]>();
      const nowMs = Date.now();
      let size = 0;
      for (; ahead.done !== true && ahead.value.timeMs <= nowMs && size < pieceRecords; ahead = deliveries.next()) {
        const { stream, key, value } = ahead.value;
        const records = topics.get(topicOf(stream));
        if (records === undefined) topics.set(topicOf(stream), [{ key, value }]);
        else records.push({ key, value });
        size += 1;
      }
      await Promise.all([...topics].map(([topic, records]) => producer.send(topic, records)));
      sent += size;
      run.onProgress(progress());
      if (size < pieceRecords && ahead.done !== true) await pause(pauseMs, { signal: run.stop });
    }
  } finally {
    await producer.close();
  }
  return progress();
}

/** The events up to the one that places the last of `count` orders; `onOrder` hears of each. */
export function* ordersUpTo(count: number, events: Iterable<ShopEvent>, onOrder: () => void): Generator<ShopEvent> {
  let placed = 0;
  for (const event of events) {
    yield event;
    if (event.stream !== orderCreated) continue;
    onOrder();
    placed += 1;
    if (placed >= count) return;
  }
}

/** Writes events with the schemas that the registry holds for their versions. */
async function avroWriter(registry: SchemaRegistry, topicOf: (stream: Stream) => string): Promise<AvroWriter> {
  const schemas = new Map<string, { readonly id: number; readonly schema: AvroSchema }>();
  for (const stream of shopStreams) {
    for (const version of stream.versions) {
      const text = avroSchemaText(stream, version);
      const id = await registry.register(subjectOf(topicOf(stream)), text, stream.compatibility);
      schemas.set(`${stream.name} ${version.version}`, { id, schema: new AvroSchema(text) });
    }
  }
  return ({ stream, version, event }) => {
    const known = schemas.get(`${stream.name} ${version}`);
    if (known === undefined) throw new RangeError(`${stream.name} has no version ${version}`);
    return known.schema.encode(known.id, event);
  };
}
