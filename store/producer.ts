import { ConnectionPool, type GenericError, initProducerIdV4, ProtocolError } from "@platformatic/kafka";
import { ExponentialBackoff, handleWhen, retry, TimeoutStrategy, timeout, wrap } from "cockatiel";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import { type BatchIdentity, BatchWriter, type WrittenRecord } from "./batch-writer.ts";
import { parseBrokers } from "./brokers.ts";
import { CONNECT_TIMEOUT_MS, KafkaCluster } from "./kafka-cluster.ts";
import { noLeader } from "./log-errors.ts";
import { partitionOf } from "./partitioner.ts";
import { produceApi } from "./produce-request.ts";
import { unreachable } from "./topics.ts";

/** A record to be sent. Its timestamp is the time of sending. */
export interface EventRecord extends WrittenRecord {
  /** By default the key's partition (`partitionOf`); records without a key go to one partition per `send`, in turn. */
  readonly partition?: number;
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
/** How long a broker waits for its replicas before it gives up on a batch, which is then sent again. */
const replicationLimitMs = 30_000;
/** Kafka's own default for `delivery.timeout.ms`. */
const deliveryLimitMs = 120_000;

/** Registers an idempotent producer; throws TidelineError NOT_READY when no broker does that within 15 seconds. */
export async function openProducer({ brokers }: { readonly brokers: string }): Promise<EventProducer> {
  const addresses = parseBrokers(brokers);
  // A request that is given up stays on its connection, where it holds up others: the limit of a delivery is the shorter one.
  const pool = new ConnectionPool(CLIENT_ID, { connectTimeout: CONNECT_TIMEOUT_MS, requestTimeout: deliveryLimitMs });
  let attempts = 0;
  const register = async () => {
    const broker = addresses[attempts++ % addresses.length] ?? { host: "", port: 0 };
    return initProducerIdV4.api.async(await pool.get(broker), null, 0, -1n, -1);
  };
  try {
    // A broker that has just started answers "coordinator is loading" at first.
    const { producerId, producerEpoch } = await persist(openLimitMs, register, refusal);
    return new LaneProducer({ producerId, producerEpoch }, pool, brokers);
  } catch (error) {
    await pool.close();
    throw unreachable(brokers, error);
  }
}

const CLIENT_ID = "tideline";

/** Repeats `attempt` until it succeeds, its error is `final`, or the time is over. */
function persist<T>(limitMs: number, attempt: () => Promise<T>, final: (error: unknown) => unknown): Promise<T> {
  const backoff = new ExponentialBackoff({ initialDelay: 100, maxDelay: 1_000 });
  const again = retry(
    handleWhen((error) => !final(error)),
    { maxAttempts: Number.POSITIVE_INFINITY, backoff },
  );
  return wrap(timeout(limitMs, TimeoutStrategy.Aggressive), again).execute(attempt);
}

/** Kafka's answer, when trying again cannot change it. */
function refusal(error: unknown): ProtocolError | undefined {
  const found = (error as Partial<GenericError>).findBy?.("canRetry", false);
  return found instanceof ProtocolError ? found : undefined;
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

/** A batch of one partition, and whose records it has: in order, each with the place behind its last one. */
interface Batch {
  readonly writer: BatchWriter;
  readonly shares: { readonly sending: Sending; end: number }[];
}

/**
 * A partition's queue. One batch of it is under way at a time, and what comes in at the same time makes the next one larger.
 *
 * Kafka drops a batch whose numbers it has already (KIP-98). A batch takes its first number when it is sealed, and the partition's number moves on only when the
 * batch is acknowledged. So the same bytes are sent again after a failure, nothing goes to the partition in between, and after a batch
 * that failed for good nothing is sent any more.
 */
interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly waiting: Batch[];
  /** The number of the next batch's first record. */
  sequence: number;
  draining?: Promise<void> | undefined;
}

class LaneProducer implements EventProducer {
  readonly #identity: Omit<BatchIdentity, "sequence">;
  readonly #pool: ConnectionPool;
  readonly #cluster: KafkaCluster;
  readonly #brokers: string;
  /** Topic -> a lane for each partition; asked once, so that a key stays where it is while this producer lives. */
  readonly #lanes = new Map<string, Promise<Lane[]>>();
  #keyless = 0;
  #failure: Error | undefined;

  constructor(identity: Omit<BatchIdentity, "sequence">, pool: ConnectionPool, brokers: string) {
    this.#identity = identity;
    this.#pool = pool;
    this.#brokers = brokers;
    this.#cluster = new KafkaCluster(brokers, CLIENT_ID);
  }

  async send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged> {
    if (this.#failure !== undefined) throw this.#failure;
    const found = this.#lanes.get(topic) ?? this.#find(topic);
    this.#lanes.set(topic, found);
    const lanes = await found; // also when it is known: overlapping calls go on in their order
    const keyless = this.#keyless++ % lanes.length;
    const placed = records.map((record) => laneOf(lanes, record, keyless));
    return new Promise((resolve, reject) => {
      const sending = { acknowledged: new Map<number, bigint>(), open: records.length, resolve, reject };
      if (records.length === 0) resolve(sending.acknowledged);
      for (const [index, lane] of placed.entries()) enqueue(lane, records[index] as EventRecord, sending);
      for (const lane of lanes) if (lane.waiting.length > 0) lane.draining ??= this.#drain(lane);
    });
  }

  async close(): Promise<void> {
    for (const found of this.#lanes.values()) for (const lane of await found.catch(() => [])) await lane.draining;
    this.#failure ??= new TypeError("send() on a closed producer");
    await Promise.all([this.#pool.close(), this.#cluster.close()]);
  }

  async #find(topic: string): Promise<Lane[]> {
    try {
      const ask = () => this.#cluster.topic(topic, { fresh: true });
      const { leaders } = await persist(deliveryLimitMs, ask, isTopicMissing);
      return Array.from(leaders, (_, partition) => ({ topic, partition, waiting: [], sequence: 0 }));
    } catch (error) {
      this.#lanes.delete(topic);
      throw this.#explain(topic, error);
    }
  }

  async #drain(lane: Lane): Promise<void> {
    // What else is sent in this turn of the event loop comes along.
    await undefined;
    for (let batch = lane.waiting.shift(); batch !== undefined; batch = lane.waiting.shift()) {
      try {
        acknowledge(batch, lane.partition, await this.#deliver(lane, batch));
      } catch (error) {
        for (const { sending } of batch.shares) sending.reject(error);
      }
    }
    lane.draining = undefined;
  }

  /** Sends one batch of one partition; the offset of its first record. */
  async #deliver(lane: Lane, { writer }: Batch): Promise<bigint> {
    if (this.#failure !== undefined) throw this.#failure;
    const { topic, partition, sequence } = lane;
    try {
      const batch = writer.seal({ ...this.#identity, sequence }, Date.now());
      const request = { topic, partition, batch, timeoutMs: replicationLimitMs };
      const first = await persist(deliveryLimitMs, () => this.#attempt(request), refusal);
      lane.sequence = (sequence + writer.count) % 2 ** 31;
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
      return await produceApi.async(await this.#pool.get(leader), request);
    } catch (error) {
      // Another broker may lead the partition by now.
      this.#cluster.forget(topic);
      throw error;
    }
  }

  #explain(topic: string, cause: unknown): TidelineError {
    if (isTopicMissing(cause)) return cause;
    const refused = refusal(cause);
    if (refused === undefined) return unreachable(this.#brokers, cause);
    const message = `Kafka refuses a record for ${topic}: ${refused.serverErrorMessage ?? refused.message}`;
    return new TidelineError("WRITE_REFUSED", message, "nothing behind it was sent; put it right and start again", {
      cause,
    });
  }
}

/** The lane that a record belongs to. Throws RangeError for a partition that there is not. */
function laneOf(lanes: readonly Lane[], { key, partition: given }: EventRecord, keyless: number): Lane {
  const partition = given ?? (key === null ? keyless : partitionOf(key, lanes.length));
  const lane = lanes[partition];
  if (lane === undefined) throw new RangeError(`${lanes[0]?.topic ?? "the topic"} has no partition ${partition}`);
  return lane;
}

/** Adds a record to the lane's last batch that waits, or to a new one when that is full. */
function enqueue({ waiting }: Lane, record: EventRecord, sending: Sending): void {
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

/** Tells each `send` that `batch` has records of where its last one is. */
function acknowledge({ shares }: Batch, partition: number, firstOffset: bigint): void {
  let begin = 0;
  for (const { sending, end } of shares) {
    sending.acknowledged.set(partition, firstOffset + BigInt(end - 1));
    sending.open -= end - begin;
    begin = end;
    if (sending.open === 0) sending.resolve(sending.acknowledged);
  }
}
