import { type GenericError, Producer, ProtocolError, serializersFrom } from "@platformatic/kafka";
import { ExponentialBackoff, handleWhen, retry, TimeoutStrategy, timeout, wrap } from "cockatiel";
import { TidelineError } from "../core/errors.ts";
import { parseBrokers } from "./brokers.ts";
import { isUnknownTopic, topicMissing } from "./log-errors.ts";
import { partitionOf } from "./partitioner.ts";
import { unreachable } from "./topics.ts";

/**
 * A record's timestamp is the time of sending: the client encodes timestamps wrongly that lie more than 2^31 ms from the first one
 * in their batch.
 */
export interface EventRecord {
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  /** By default the key's partition (`partitionOf`); records without a key go to one partition per `send`, in turn. */
  readonly partition?: number;
  readonly headers?: Readonly<Record<string, string | Buffer>>;
}

/** Partition -> offset of the last record of a `send` there. */
export type Acknowledged = ReadonlyMap<number, bigint>;

export interface EventProducer {
  /**
   * Sends `records` and resolves when Kafka has acknowledged all of them. Calls may overlap: within a partition their records keep
   * the order of the calls, and small calls share batches. All of them wait in memory: whoever sends much awaits each call.
   * Retries for two minutes. Throws RangeError (no such partition) and TidelineError TOPIC_MISSING, NOT_READY (no answer) and
   * WRITE_REFUSED (Kafka does not take a record, because it is too large for instance). After NOT_READY and WRITE_REFUSED
   * the producer sends nothing more, for the records behind would leave a gap: open another one.
   */
  send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged>;
  /** Waits for what was sent, then closes the connections. */
  close(): Promise<void>;
}

/** A batch stays below Kafka's default for `max.message.bytes`: topics made by others take it too. A larger record goes alone. */
const batchLimit = { records: 5_000, bytes: 900_000 };
const openLimitMs = 15_000;
/** Kafka's own default for `delivery.timeout.ms`. */
const deliveryLimitMs = 120_000;

/** Registers an idempotent producer; throws TidelineError NOT_READY when no broker does that within 15 seconds. */
export async function openProducer({ brokers }: { readonly brokers: string }): Promise<EventProducer> {
  const client = createClient(brokers);
  try {
    // A broker that has just started answers "coordinator is loading" at first.
    await persist(client, openLimitMs, () => client.initIdempotentProducer({}), refusal);
    return new LaneProducer(client, brokers);
  } catch (error) {
    await client.close();
    throw unreachable(brokers, error);
  }
}

/**
 * The client's idempotent producer numbers a partition's records, and Kafka drops a batch whose numbers it has already (KIP-98).
 * What we rely on, in the client's `Producer`: a batch takes its first number when it is encoded, and a partition's number moves on
 * only when its batch is acknowledged. So the same records sent again carry the same numbers, if nothing else went to that partition
 * in between. That holds because one `send` of the client carries one batch of one partition, a partition has one batch under
 * way, and after one that failed for good nothing is sent any more.
 */
const createClient = (brokers: string) =>
  new Producer({
    clientId: "tideline",
    bootstrapBrokers: parseBrokers(brokers),
    serializers: serializersFrom(toBytes),
    idempotent: true,
    acks: -1,
    // One attempt a `send`: `persist` repeats it. The client's own retry never asks who leads the partition by now.
    retries: false,
    repeatOnStaleMetadata: false,
    // An answer that comes after this limit leaves the client's connection stuck; by then we have given up too.
    requestTimeout: deliveryLimitMs,
  });

type Client = ReturnType<typeof createClient>;

const toBytes = (text?: string | Buffer | null) => (typeof text === "string" ? Buffer.from(text) : (text ?? undefined));

/** Repeats `attempt` until it succeeds, its error is `final`, or the time is over. */
function persist<T>(client: Client, limitMs: number, attempt: () => Promise<T>, final: (error: unknown) => unknown) {
  const backoff = new ExponentialBackoff({ initialDelay: 100, maxDelay: 1_000 });
  const again = retry(
    handleWhen((error) => !final(error)),
    { maxAttempts: Number.POSITIVE_INFINITY, backoff },
  );
  again.onRetry(() => client.clearMetadata());
  return wrap(timeout(limitMs, TimeoutStrategy.Aggressive), again).execute(attempt);
}

/** Kafka's answer, when trying again cannot change it. */
function refusal(error: unknown): ProtocolError | undefined {
  const found = (error as Partial<GenericError>).findBy?.("canRetry", false);
  return found instanceof ProtocolError ? found : undefined;
}

/** One call of `send`, until Kafka has all its records. */
interface Sending {
  readonly acknowledged: Map<number, bigint>;
  open: number;
  readonly resolve: (acknowledged: Acknowledged) => void;
  readonly reject: (error: unknown) => void;
}

type Message = ReturnType<typeof toMessage>;

/** A partition's queue. One batch of it is under way at a time, and what comes in meanwhile makes the next one larger. */
interface Lane {
  readonly waiting: Message[];
  draining?: Promise<void> | undefined;
}

class LaneProducer implements EventProducer {
  readonly #client: Client;
  readonly #brokers: string;
  /** Topic -> a lane for each partition; asked once, so that a key stays where it is while this producer lives. */
  readonly #lanes = new Map<string, Promise<Lane[]>>();
  #keyless = 0;
  #failure: Error | undefined;

  constructor(client: Client, brokers: string) {
    this.#client = client;
    this.#brokers = brokers;
  }

  async send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged> {
    if (this.#failure !== undefined) throw this.#failure;
    const found = this.#lanes.get(topic) ?? this.#find(topic);
    this.#lanes.set(topic, found);
    const lanes = await found; // also when it is known: overlapping calls go on in their order
    const keyless = this.#keyless++ % lanes.length;
    return new Promise((resolve, reject) => {
      const sending = { acknowledged: new Map<number, bigint>(), open: records.length, resolve, reject };
      if (records.length === 0) resolve(sending.acknowledged);
      const messages = records.map((record) => toMessage(topic, record, lanes.length, keyless, sending));
      for (const message of messages) lanes[message.partition]?.waiting.push(message);
      for (const lane of lanes) if (lane.waiting.length > 0) lane.draining ??= this.#drain(lane);
    });
  }

  async close(): Promise<void> {
    for (const found of this.#lanes.values()) for (const lane of await found.catch(() => [])) await lane.draining;
    this.#failure ??= new TypeError("send() on a closed producer");
    await this.#client.close();
  }

  async #find(topic: string): Promise<Lane[]> {
    try {
      const ask = () => this.#client.metadata({ topics: [topic] });
      const { topics } = await persist(this.#client, deliveryLimitMs, ask, isUnknownTopic);
      return Array.from({ length: topics.get(topic)?.partitionsCount ?? 0 }, () => ({ waiting: [] }));
    } catch (error) {
      this.#lanes.delete(topic);
      throw this.#explain(topic, error);
    }
  }

  async #drain(lane: Lane): Promise<void> {
    while (lane.waiting.length > 0) {
      const batch = lane.waiting.splice(0, batchSize(lane.waiting));
      try {
        acknowledge(batch, await this.#deliver(batch));
      } catch (error) {
        for (const { metadata } of batch) metadata.reject(error);
      }
    }
    lane.draining = undefined;
  }

  /** Sends one batch of one partition; the offset of its first record. */
  async #deliver(messages: Message[]): Promise<bigint> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const { offsets = [] } = await persist(
        this.#client,
        deliveryLimitMs,
        () => this.#client.send({ messages }),
        refusal,
      );
      return offsets[0]?.offset ?? -1n;
    } catch (error) {
      this.#failure ??= this.#explain(messages[0]?.topic, error);
      throw this.#failure;
    }
  }

  #explain(topic: string | undefined, cause: unknown): TidelineError {
    const refused = refusal(cause);
    if (isUnknownTopic(cause)) {
      return topicMissing(topic ?? "", cause);
    }
    if (refused === undefined) return unreachable(this.#brokers, cause);
    const message = `Kafka refuses a record for ${topic}: ${refused.serverErrorMessage ?? refused.message}`;
    return new TidelineError("WRITE_REFUSED", message, "nothing behind it was sent; put it right and start again", {
      cause,
    });
  }
}

/** A record as the client takes it, which leaves `metadata` alone. */
function toMessage(topic: string, record: EventRecord, partitions: number, keyless: number, metadata: Sending) {
  const { key } = record;
  const partition = record.partition ?? (key === null ? keyless : partitionOf(key, partitions));
  if (partition >= 0 && partition < partitions) return { ...record, topic, partition, metadata };
  throw new RangeError(`${topic} has no partition ${partition}`);
}

/** Tells each `send` that `batch` has records of where its last one is. */
function acknowledge(batch: readonly Message[], firstOffset: bigint): void {
  for (const [i, { partition, metadata: sending }] of batch.entries()) {
    sending.open--;
    if (batch[i + 1]?.metadata === sending) continue;
    sending.acknowledged.set(partition, firstOffset + BigInt(i));
    if (sending.open === 0) sending.resolve(sending.acknowledged);
  }
}

/** How many of the records that wait go into the next batch. */
function batchSize(waiting: readonly Message[]): number {
  let sizeBytes = 0;
  const end = waiting.findIndex(({ key, value, headers = {} }, i) => {
    sizeBytes += Buffer.byteLength(key ?? "") + Buffer.byteLength(value ?? "") + 64;
    for (const [name, header] of Object.entries(headers)) sizeBytes += name.length + Buffer.byteLength(header);
    return i > 0 && (i === batchLimit.records || sizeBytes > batchLimit.bytes);
  });
  return end < 0 ? waiting.length : end;
}
