import { Connection, createAPI, createRecordsBatch, type Reader, Writer } from "@platformatic/kafka";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { parseBrokers } from "../../store/kafka/cluster/brokers.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";

/**
 * Record batches in Kafka's own format, encoded once and sent often: a producer that costs next to nothing while others
 * are measured.
 */

export interface PreparedBatch {
  readonly partition: number;
  readonly records: number;
  readonly bytes: Buffer;
}

export function prepareBatch(
  partition: number,
  events: readonly { readonly key: string; readonly value: string | Buffer }[],
): PreparedBatch {
  const messages = events.map(({ key, value }) => ({
    topic: "",
    key: Buffer.from(key),
    value: typeof value === "string" ? Buffer.from(value) : value,
  }));
  return { partition, records: events.length, bytes: createRecordsBatch(messages).buffer };
}

/**
 * `count` orders in batches of `size`, the partitions in turn; event times begin at `startMs` and are `everyMs` apart.
 */
export function prepareOrders(options: {
  readonly seed: number;
  readonly count: number;
  readonly size: number;
  readonly partitions: number;
  readonly startMs: number;
  readonly everyMs: number;
}): PreparedBatch[] {
  const { seed, count, size, partitions, startMs, everyMs } = options;
  const make = ordersOf(seed);
  return Array.from({ length: Math.ceil(count / size) }, (_, batch) => {
    const events = Array.from({ length: Math.min(size, count - batch * size) }, (_, place) => {
      const index = batch * size + place;
      const order = make(index, Math.round(startMs + index * everyMs));
      return { key: order.order_id, value: JSON.stringify(order) };
    });
    return prepareBatch(batch % partitions, events);
  });
}

const PRODUCE = 0;
const TIMEOUT_MS = 30_000;

/** Kafka's Produce request, version 11, with one batch as it is (the client's own would encode each record again). */
const produce = createAPI(
  PRODUCE,
  11,
  (topic: string, { partition, bytes }: PreparedBatch) =>
    Writer.create()
      .appendString(null)
      .appendInt16(-1)
      .appendInt32(TIMEOUT_MS)
      .appendArray([topic], (topics, name) => {
        topics.appendString(name).appendArray([bytes], (parts, records) => {
          parts
            .appendInt32(partition)
            .appendUnsignedVarInt(records.length + 1)
            .append(records);
        });
      })
      .appendTaggedFields(),
  (_correlation: number, _key: number, _version: number, reader: Reader): number => {
    const [[code] = []] = reader.readArray((topics) => {
      topics.readString();
      return topics.readArray((parts) => {
        parts.readInt32();
        const code = parts.readInt16();
        for (let field = 0; field < 3; field++) parts.readInt64();
        parts.readArray((errors) => {
          errors.readInt32();
          errors.readNullableString();
        });
        parts.readNullableString();
        return code;
      });
    });
    return code ?? -1;
  },
);

/** Sends prepared batches to the one broker of a benchmark's Kafka. */
export class BatchSender {
  readonly #connection: Connection;
  readonly #topic: string;

  private constructor(connection: Connection, topic: string) {
    this.#connection = connection;
    this.#topic = topic;
  }

  static async open(brokers: string, topic: string): Promise<BatchSender> {
    const [broker = { host: "127.0.0.1", port: 9092 }] = parseBrokers(brokers);
    const connection = new Connection("bench-load");
    await connection.connect(broker.host, broker.port);
    return new BatchSender(connection, topic);
  }

  /** Resolves when Kafka has acknowledged the batch. */
  async send(batch: PreparedBatch): Promise<void> {
    const code = await produce.async(this.#connection, this.#topic, batch);
    if (code !== 0) throw new Error(`Kafka refuses a batch for ${this.#topic}: error ${String(code)}`);
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }
}

/**
 * Sends orders that happen at even distances in `lengthMs` from `startMs` on; the same numbers make the same orders.
 */
export async function sendOrders(
  brokers: string,
  { records, startMs, lengthMs }: { readonly records: number; readonly startMs: number; readonly lengthMs: number },
): Promise<void> {
  const sender = await BatchSender.open(brokers, orderCompleted.name);
  const { partitions } = orderCompleted;
  const everyMs = lengthMs / records;
  const step = 100_000;
  for (let first = 0; first < records; first += step)
    for (const batch of prepareOrders({
      seed: 1 + first / step,
      count: step,
      size: 500,
      partitions,
      startMs: startMs + first * everyMs,
      everyMs,
    }))
      await sender.send(batch);
  await sender.close();
}
