import { ExponentialBackoff, handleWhen, retry, TaskCancelledError, TimeoutStrategy, timeout, wrap } from "cockatiel";
import { isTidelineError, type TidelineError } from "../../../core/errors.ts";
import { ConnectionPool, initProducerIdV4 } from "../client/client.ts";
import { parseBrokers } from "../cluster/brokers.ts";
import { ANSWER_TIMEOUT_MS, CONNECT_TIMEOUT_MS, KafkaCluster } from "../cluster/kafka-cluster.ts";
import { noLeader } from "../cluster/log-errors.ts";
import { answered, closeConnections } from "../cluster/silent-broker.ts";
import { unreachable } from "../cluster/topics.ts";
import { type BatchIdentity, BatchWriter, type WrittenRecord } from "./batch-writer.ts";
import { partitionOf } from "./partitioner.ts";
import { produceApi } from "./produce-request.ts";
import { refusal, writeRefused } from "./refusal.ts";

/** A record to be sent. Its timestamp is the time of sending. */
export interface EventRecord extends WrittenRecord {
  /** Absent: the key's partition (`partitionOf`). Records without a key go to one partition per `send`, in turn. */
  readonly partition?: number;
}

/** By partition, the offset of the last record of a `send`. */
export type Acknowledged = ReadonlyMap<number, bigint>;

export interface EventProducer {
  /**
   * Sends `records` and resolves when Kafka has acknowledged all of them. Calls may overlap: within a partition their
   * records keep the order of the calls, and small calls share batches. All records wait in memory, so a caller that
   * sends much should await each call.
   *
   * Retries for two minutes. After 40 seconds without an answer a broker is given up, and the partition's leader is
   * looked up again. Throws RangeError (no such partition) and TidelineError TOPIC_MISSING, NOT_READY (no answer) and
   * WRITE_REFUSED (Kafka does not accept a record, for instance because it is too large). After NOT_READY and
   * WRITE_REFUSED the producer sends nothing more, because later records would leave a gap. Open another one then.
   */
  send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged>;
  /** Waits for everything that was sent, then closes the connections. After this call `send` throws. */
  close(): Promise<void>;
}

/**
 * The limit of a batch is below Kafka's default for `max.message.bytes`, so that other people's topics accept it too. A
 * larger record is sent alone.
 */
const batchLimit = { records: 5_000, bytes: 900_000 };
const openLimitMs = 15_000;
/** How long a broker waits for its replicas before it gives up on a batch. The batch is then sent again. */
const replicationLimitMs = 30_000;
/** Kafka's own default for `delivery.timeout.ms`. */
const deliveryLimitMs = 120_000;
/** A broker that has not vanished answers within `replicationLimitMs`, if only with an error. */
const silenceLimitMs = replicationLimitMs + 10_000;
/** How long to wait for a broker to register the producer before the next broker is asked. */
const registerSilenceMs = 5_000;

export interface ProducerOptions {
  /** `host:port`, several separated by commas. */
  readonly brokers: string;
  /** How long a connection may be without an answer before it is closed, in milliseconds. Absent: 40 seconds. */
  readonly silenceMs?: number;
  /** How long to try to send a record, in milliseconds. Absent: two minutes. */
  readonly deliveryMs?: number;
}

/** Registers an idempotent producer. Throws TidelineError NOT_READY when no broker registers it within 15 seconds. */
export async function openProducer(options: ProducerOptions): Promise<EventProducer> {
  const { brokers, silenceMs = silenceLimitMs, deliveryMs = deliveryLimitMs } = options;
  const addresses = parseBrokers(brokers);
  // `answered` ends a request together with its connection. The client's own limit would end the request only.
  const pool = new ConnectionPool(CLIENT_ID, { connectTimeout: CONNECT_TIMEOUT_MS, requestTimeout: 2 * deliveryMs });
  let attempts = 0;
  const register = async () => {
    const broker = addresses[attempts++ % addresses.length] ?? { host: "", port: 0 };
    const connection = await pool.get(broker);
    return answered(connection, initProducerIdV4.api.async(connection, null, 0, -1n, -1), registerSilenceMs);
  };
  try {
    // A broker that has just started answers "coordinator is loading" at first.
    const { producerId, producerEpoch } = await persist(openLimitMs, register, refusal);
    return new QueueProducer({ producerId, producerEpoch }, pool, { brokers, silenceMs, deliveryMs });
  } catch (error) {
    await closeConnections(pool);
    throw unreachable(brokers, error);
  }
}

const CLIENT_ID = "tideline";

/**
 * Repeats `attempt` until it succeeds or its error is `final`. After `limitMs` it throws the error of the last attempt.
 */
async function persist<T>(limitMs: number, attempt: () => Promise<T>, final: (error: unknown) => unknown): Promise<T> {
  let failure: unknown;
  const again = retry(
    handleWhen((error) => {
      failure = error;
      return !final(error);
    }),
    {
      maxAttempts: Number.POSITIVE_INFINITY,
      backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 1_000 }),
    },
  );
  try {
    return await wrap(timeout(limitMs, TimeoutStrategy.Aggressive), again).execute(attempt);
  } catch (error) {
    throw error instanceof TaskCancelledError ? (failure ?? error) : error;
  }
}

function isTopicMissing(error: unknown): error is TidelineError {
  return isTidelineError(error, "TOPIC_MISSING");
}

/** One call of `send`, until Kafka has all its records. */
interface Sending {
  readonly acknowledged: Map<number, bigint>;
  open: number;
  readonly resolve: (acknowledged: Acknowledged) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A batch of one partition, and the calls of `send` whose records it has: in order, each with the index after its last
 * record.
 */
interface Batch {
  readonly writer: BatchWriter;
  readonly shares: { readonly sending: Sending; end: number }[];
}

/**
 * A partition's queue. One batch is under way at a time, and records that are added in the meantime make the next batch
 * larger. Kafka drops a batch whose numbers it already has (KIP-98). A batch takes its first number when it is sealed,
 * and the partition's number increases only when the batch is acknowledged. So the same bytes are sent again after a
 * failure, nothing else goes to the partition in between, and after a batch that finally failed nothing is sent any
 * more.
 */
interface PartitionQueue {
  readonly topic: string;
  readonly partition: number;
  readonly waiting: Batch[];
  /** The number of the next batch's first record. */
  sequence: number;
  draining?: Promise<void> | undefined;
}

class QueueProducer implements EventProducer {
  readonly #identity: Omit<BatchIdentity, "sequence">;
  readonly #pool: ConnectionPool;
  readonly #cluster: KafkaCluster;
  readonly #limits: Required<ProducerOptions>;
  /**
   * The queues of each topic's partitions. Kafka is asked once, so that a key keeps its partition while this producer
   * lives.
   */
  readonly #queues = new Map<string, Promise<PartitionQueue[]>>();
  #keyless = 0;
  #failure: Error | undefined;
  #isClosing = false;

  constructor(identity: Omit<BatchIdentity, "sequence">, pool: ConnectionPool, limits: Required<ProducerOptions>) {
    this.#identity = identity;
    this.#pool = pool;
    this.#limits = limits;
    this.#cluster = new KafkaCluster(limits.brokers, CLIENT_ID, {
      answerTimeoutMs: Math.min(limits.silenceMs, ANSWER_TIMEOUT_MS),
    });
  }

  async send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isClosing) throw new TypeError("send() on a closed producer");
    const found = this.#queues.get(topic) ?? this.#find(topic);
    this.#queues.set(topic, found);
    const queues = await found; // Wait even if it is known: overlapping calls continue in their order.
    const keyless = this.#keyless++ % queues.length;
    const placed = records.map((record) => queueOf(queues, record, keyless));
    return new Promise((resolve, reject) => {
      const sending = { acknowledged: new Map<number, bigint>(), open: records.length, resolve, reject };
      if (records.length === 0) resolve(sending.acknowledged);
      for (const [index, queue] of placed.entries()) enqueue(queue, records[index] as EventRecord, sending);
      for (const queue of queues) if (queue.waiting.length > 0) queue.draining ??= this.#drain(queue);
    });
  }

  async close(): Promise<void> {
    // Set it at once. A record sent while others are awaited would find the connections closed, and be retried until
    // its time is over.
    this.#isClosing = true;
    for (const found of this.#queues.values()) for (const queue of await found.catch(() => [])) await queue.draining;
    await Promise.all([closeConnections(this.#pool), this.#cluster.close()]);
  }

  async #find(topic: string): Promise<PartitionQueue[]> {
    try {
      const ask = () => this.#cluster.topic(topic, { fresh: true });
      const { leaders } = await persist(this.#limits.deliveryMs, ask, isTopicMissing);
      return Array.from(leaders, (_, partition) => ({ topic, partition, waiting: [], sequence: 0 }));
    } catch (error) {
      this.#queues.delete(topic);
      throw this.#explain(topic, error);
    }
  }

  async #drain(queue: PartitionQueue): Promise<void> {
    // Wait, so that records sent in the same turn of the event loop are in the batch.
    await undefined;
    for (let batch = queue.waiting.shift(); batch !== undefined; batch = queue.waiting.shift()) {
      try {
        acknowledge(batch, queue.partition, await this.#deliver(queue, batch));
      } catch (error) {
        for (const { sending } of batch.shares) sending.reject(error);
      }
    }
    queue.draining = undefined;
  }

  /** Sends one batch of one partition. Returns the offset of its first record. */
  async #deliver(queue: PartitionQueue, { writer }: Batch): Promise<bigint> {
    if (this.#failure !== undefined) throw this.#failure;
    const { topic, partition, sequence } = queue;
    try {
      const batch = writer.seal({ ...this.#identity, sequence }, Date.now());
      const request = { topic, partition, batch, timeoutMs: replicationLimitMs };
      const first = await persist(this.#limits.deliveryMs, () => this.#attempt(request), refusal);
      queue.sequence = (sequence + writer.count) % 2 ** 31;
      return first;
    } catch (error) {
      this.#failure ??= this.#explain(topic, error);
      throw this.#failure;
    }
  }

  async #attempt(request: Parameters<typeof produceApi.async>[1]): Promise<bigint> {
    const { topic, partition } = request;
    try {
      const leader = (await this.#cluster.topic(topic)).leaders[partition];
      if (leader === undefined) throw noLeader(topic, partition);
      const connection = await this.#pool.get(leader);
      return await answered(connection, produceApi.async(connection, request), this.#limits.silenceMs);
    } catch (error) {
      // Another broker may be the partition's leader now.
      this.#cluster.forget(topic);
      throw error;
    }
  }

  #explain(topic: string, cause: unknown): TidelineError {
    if (isTopicMissing(cause)) return cause;
    const hint = "nothing behind it was sent; put it right and start again";
    return writeRefused([topic], hint, cause) ?? unreachable(this.#limits.brokers, cause);
  }
}

/** Returns the queue of a record. Throws RangeError for a partition that does not exist. */
function queueOf(
  queues: readonly PartitionQueue[],
  { key, partition: given }: EventRecord,
  keyless: number,
): PartitionQueue {
  const partition = given ?? (key === null ? keyless : partitionOf(key, queues.length));
  const queue = queues[partition];
  if (queue === undefined) throw new RangeError(`${queues[0]?.topic ?? "the topic"} has no partition ${partition}`);
  return queue;
}

/** Adds a record to the queue's last waiting batch, or to a new one when that is full. */
function enqueue({ waiting }: PartitionQueue, record: EventRecord, sending: Sending): void {
  let batch = waiting.at(-1);
  if (batch === undefined || !batch.writer.add(record, batchLimit)) {
    batch = { writer: new BatchWriter(), shares: [] };
    batch.writer.add(record, batchLimit);
    waiting.push(batch);
  }
  const last = batch.shares.at(-1);
  if (last?.sending === sending) last.end = batch.writer.count;
  else batch.shares.push({ sending, end: batch.writer.count });
}

/** Tells each `send` with records in `batch` the offset of its last record. */
function acknowledge({ shares }: Batch, partition: number, firstOffset: bigint): void {
  let begin = 0;
  for (const { sending, end } of shares) {
    sending.acknowledged.set(partition, firstOffset + BigInt(end - 1));
    sending.open -= end - begin;
    begin = end;
    if (sending.open === 0) sending.resolve(sending.acknowledged);
  }
}
