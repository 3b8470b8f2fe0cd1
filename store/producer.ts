import { setTimeout as sleep } from "node:timers/promises";
import { crc32c, createAPI, Producer, ProtocolError, produceV9, ResponseError, Writer } from "@platformatic/kafka";
import { isTidelineError, TidelineError } from "../core/errors.ts";

/**
 * An idempotent producer (acks=all) that keeps the order within each partition.
 *
 * Per partition there is a lane: a queue with one batch in flight. A batch is encoded once, with its sequence number, and these
 * very bytes are sent until Kafka acknowledges them; Kafka recognises a batch that it already has (KIP-98). So whatever
 * happens to connection, broker or process, a partition holds a prefix of what was sent to it: no gap, no repeat, no swap.
 *
 * The client library's own `send` builds several objects a record (136,000 records/s on one core); encoding into one buffer
 * takes a fifth of that. Connections, metadata and the wire protocol around the batch are the library's.
 */

export interface EventRecord {
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  /** By default the key's partition (`partitionOf`); records without a key go to one partition per `send`, in turn. */
  readonly partition?: number;
  readonly headers?: Readonly<Record<string, string | Buffer>>;
  /** Epoch milliseconds; by default the time of sending. */
  readonly timestamp?: number;
}

/** Partition -> offset of the last record of a `send` there. */
export type Acknowledged = ReadonlyMap<number, bigint>;

export interface EventProducer {
  /**
   * Sends `records` in order and resolves when Kafka has acknowledged all of them. Calls may overlap; their records keep the
   * order of the calls. Retries for two minutes. Throws TidelineError TOPIC_MISSING, NOT_READY (Kafka does not answer, or
   * refuses the records) and RangeError (no such partition, or a record above 10 MB). After a failure at Kafka the producer
   * sends nothing more, for the records behind would leave a gap: open another one.
   */
  send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged>;
  /** Resolves when at most 16 MB wait for acknowledgement. Whoever sends without awaiting `send` awaits this before each call. */
  ready(): Promise<void>;
  /** Waits for what was sent, then closes the connections. Throws what `send` threw if something was not acknowledged. */
  close(): Promise<void>;
}

export interface ProducerOptions {
  /** host:port, several separated by commas. */
  readonly brokers: string;
}

/** A topic's largest batch (`max.message.bytes`), see store/topics.ts, less room for the batch's header. */
const recordLimitBytes = 10 * 1024 * 1024 - 1024;
/** Below Kafka's default for `max.message.bytes`, so that topics made by others take our batches too. */
const batchLimitBytes = 1_000_000;
const pendingLimitBytes = 16 * 1024 * 1024;
/** Kafka's own default for `delivery.timeout.ms`. */
const deliveryLimitMs = 120_000;
const openLimitMs = 5_000;
const retryDelayMs = { first: 100, last: 1_000 };

/** Registers an idempotent producer; throws TidelineError NOT_READY when no broker does that within five seconds. */
export async function openProducer({ brokers }: ProducerOptions): Promise<EventProducer> {
  const client = new Producer({ clientId: "tideline", bootstrapBrokers: brokers.split(","), retries: 0, acks: -1 });
  try {
    const register = () => client.initIdempotentProducer({});
    // A broker that has just started answers "coordinator is loading" at first.
    const { producerId, producerEpoch } = await retrying(register, (cause, elapsedMs) => {
      if (elapsedMs < openLimitMs) return undefined;
      const hint = "start the servers with `tideline up`, or set KAFKA_BROKERS to the Kafka that runs";
      return new TidelineError("NOT_READY", `Kafka does not answer at ${brokers}`, hint, { cause });
    });
    return new LaneProducer(client, { id: producerId, epoch: producerEpoch }, brokers);
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Repeats `attempt`, waiting longer each time, until it succeeds or `final` gives what to throw for its error. */
async function retrying<T>(
  attempt: () => Promise<T>,
  final: (error: unknown, elapsedMs: number) => TidelineError | undefined,
): Promise<T> {
  const beganMs = performance.now();
  for (let delayMs = retryDelayMs.first; ; delayMs = Math.min(delayMs * 2, retryDelayMs.last)) {
    try {
      return await attempt();
    } catch (error) {
      const thrown = final(error, performance.now() - beganMs);
      if (thrown !== undefined) throw thrown;
    }
    await sleep(delayMs);
  }
}

/**
 * The partition of `key` among `partitions`, as Kafka's Java client chooses it and all that agree with it: murmur2 without the
 * sign, modulo the number of partitions (org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey).
 */
export function partitionOf(key: string | Buffer, partitions: number): number {
  return (murmur2(typeof key === "string" ? Buffer.from(key) : key) & 0x7fffffff) % partitions;
}

/** Austin Appleby's MurmurHash2 with Kafka's seed (org.apache.kafka.common.utils.Utils.murmur2), as a signed 32-bit integer. */
function murmur2(bytes: Buffer): number {
  const m = 0x5bd1e995;
  const words = bytes.length & ~3;
  let h = 0x9747b28c ^ bytes.length;
  for (let i = 0; i < words; i += 4) {
    let k = Math.imul(bytes.readInt32LE(i), m);
    k = Math.imul(k ^ (k >>> 24), m);
    h = Math.imul(h, m) ^ k;
  }
  if (words < bytes.length) {
    for (let i = bytes.length - 1; i >= words; i--) h ^= bytes.readUInt8(i) << (8 * (i - words));
    h = Math.imul(h, m);
  }
  h = Math.imul(h ^ (h >>> 13), m);
  return h ^ (h >>> 15);
}

interface ProducerIdentity {
  readonly id: bigint;
  readonly epoch: number;
}

/** One call of `send`, until every record of it is acknowledged. */
interface Sending {
  readonly acknowledged: Map<number, bigint>;
  open: number;
  readonly resolve: (acknowledged: Acknowledged) => void;
  readonly reject: (error: unknown) => void;
}

/** The records of one `send` that go to one lane. */
interface Run {
  readonly records: EventRecord[];
  readonly sending: Sending;
  next: number;
}

interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly runs: Run[];
  readonly batch: RecordBatch;
  sequence: number;
  busy: boolean;
}

interface ProduceRequest {
  readonly topic: string;
  readonly partition: number;
  readonly batch: Buffer;
}

/** Kafka's Produce API, version 9 (Kafka 2.4 and later), for one batch that is encoded already. */
const produce = createAPI<[request: ProduceRequest], produceV9.ProduceResponse>(
  0,
  9,
  ({ topic, partition, batch }: ProduceRequest) =>
    Writer.create()
      .appendString(null)
      .appendInt16(-1)
      .appendInt32(30_000)
      .appendArray([topic], (writer) =>
        writer.appendString(topic).appendArray([partition], (inner) =>
          inner
            .appendInt32(partition)
            .appendUnsignedVarInt(batch.length + 1)
            .append(batch),
        ),
      )
      .appendTaggedFields(),
  produceV9.parseResponse,
);

class LaneProducer implements EventProducer {
  readonly #client: Producer;
  readonly #identity: ProducerIdentity;
  readonly #brokers: string;
  readonly #lanes = new Map<string, Lane>();
  readonly #partitions = new Map<string, Promise<number>>();
  readonly #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  readonly #sendings = new Set<Promise<void>>();
  #pendingBytes = 0;
  #keyless = 0;
  #closed = false;
  #failure: unknown;

  constructor(client: Producer, identity: ProducerIdentity, brokers: string) {
    this.#client = client;
    this.#identity = identity;
    this.#brokers = brokers;
  }

  send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged> {
    if (this.#closed) return Promise.reject(new TypeError("send() on a closed producer"));
    const sending = this.#send(topic, records);
    const settled: Promise<void> = sending.then(
      () => void this.#sendings.delete(settled),
      () => void this.#sendings.delete(settled),
    );
    this.#sendings.add(settled);
    return sending;
  }

  ready(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#pendingBytes <= pendingLimitBytes) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#sendings);
    await this.#client.close();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #send(topic: string, records: readonly EventRecord[]): Promise<Acknowledged> {
    // Awaited even when it is known, so that overlapping calls go on in the order in which they were made.
    const partitions = await this.#partitionsOf(topic);
    if (this.#failure !== undefined) throw this.#failure;
    if (records.length === 0) return new Map();
    const byPartition = this.#place(topic, records, partitions);
    return new Promise((resolve, reject) => {
      const sending = { acknowledged: new Map(), open: records.length, resolve, reject };
      for (const [partition, placed] of byPartition) {
        const lane = this.#lane(topic, partition);
        lane.runs.push({ records: placed, sending, next: 0 });
        if (!lane.busy) void this.#drain(lane);
      }
    });
  }

  /** How many partitions `topic` has; asked once, so that a key stays where it is while this producer lives. */
  #partitionsOf(topic: string): Promise<number> {
    const known = this.#partitions.get(topic);
    if (known !== undefined) return known;
    const asked = this.#retrying(topic, async () => {
      const { topics } = await this.#client.metadata({ topics: [topic] });
      return topics.get(topic)?.partitionsCount ?? 0;
    });
    this.#partitions.set(topic, asked);
    asked.catch(() => this.#partitions.delete(topic));
    return asked;
  }

  #place(topic: string, records: readonly EventRecord[], partitions: number): Map<number, EventRecord[]> {
    const placed = new Map<number, EventRecord[]>();
    const keyless = this.#keyless++ % partitions;
    let bytes = 0;
    for (const record of records) {
      const partition = record.partition ?? (record.key === null ? keyless : partitionOf(record.key, partitions));
      if (!(partition >= 0 && partition < partitions)) throw new RangeError(`${topic} has no partition ${partition}`);
      const size = weight(record);
      if (size > recordLimitBytes)
        throw new RangeError(`a record of ${size} bytes for ${topic}: at most ${recordLimitBytes}`);
      bytes += size;
      const list = placed.get(partition);
      if (list === undefined) placed.set(partition, [record]);
      else list.push(record);
    }
    this.#pendingBytes += bytes;
    return placed;
  }

  #lane(topic: string, partition: number): Lane {
    const name = `${topic}/${partition}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { topic, partition, runs: [], batch: new RecordBatch(), sequence: 0, busy: false };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  /** Sends what waits in `lane`, a batch at a time, until nothing does. What comes in meanwhile makes the next batch larger. */
  async #drain(lane: Lane): Promise<void> {
    lane.busy = true;
    try {
      while (lane.runs.length > 0 && this.#failure === undefined) {
        const parts = fill(lane);
        const bytes = lane.batch.finish(this.#identity, lane.sequence);
        const baseOffset = await this.#retrying(lane.topic, () => this.#deliver(lane, bytes));
        lane.sequence = (lane.sequence + lane.batch.count) % 2 ** 31;
        this.#release(acknowledge(lane, parts, baseOffset));
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      lane.busy = false;
    }
  }

  /** Sends one batch once; the offset of its first record. */
  async #deliver({ topic, partition }: Lane, batch: Buffer): Promise<bigint> {
    const { topics, brokers } = await this.#client.metadata({ topics: [topic] });
    const leader = brokers.get(topics.get(topic)?.partitions[partition]?.leader ?? -1);
    if (leader === undefined) throw new ProtocolError("LEADER_NOT_AVAILABLE");
    const connection = await this.#client.connections.get(leader);
    try {
      const { responses } = await produce.async(connection, { topic, partition, batch });
      const answer = responses[0]?.partitionResponses[0];
      if (answer === undefined) throw new ProtocolError("UNKNOWN_SERVER_ERROR");
      return answer.baseOffset;
    } catch (error) {
      // A connection on which an answer did not come is not used again: the late answer would be read as another's.
      if (!(error instanceof ResponseError)) connection.socket.destroy();
      throw error;
    }
  }

  /** Repeats `attempt` while trying again can help, for two minutes. */
  #retrying<T>(topic: string, attempt: () => Promise<T>): Promise<T> {
    return retrying(attempt, (error, elapsedMs) => {
      this.#client.clearMetadata(); // the partition's leader may be another one now
      return this.#finalError(error, topic, elapsedMs > deliveryLimitMs);
    });
  }

  /** What to throw for `error`, or undefined when trying again can help. */
  #finalError(cause: unknown, topic: string, late: boolean): TidelineError | undefined {
    if (isTidelineError(cause)) return cause;
    if (cause instanceof Error && cause.message.startsWith("Unknown topic")) {
      const hint = "create it first: every command that writes to it does, and so does `tideline up`";
      return new TidelineError("TOPIC_MISSING", `Kafka has no topic ${topic}`, hint, { cause });
    }
    const refusals = cause instanceof ResponseError ? cause.errors.filter(({ canRetry }) => canRetry === false) : [];
    const refusal = refusals.at(-1); // the partition's own comes after those of single records
    if (refusal !== undefined) {
      const reason = refusal.serverErrorMessage ?? refusal.message;
      const hint = "nothing after it was sent; see Kafka's own log, put the cause right and start again";
      return new TidelineError("NOT_READY", `Kafka refuses records for ${topic}: ${reason}`, hint, { cause });
    }
    if (!late) return undefined;
    const message = `Kafka at ${this.#brokers} has not acknowledged records for ${topic} within ${deliveryLimitMs / 1000} seconds`;
    return new TidelineError("NOT_READY", message, "see whether it runs, then start again", { cause });
  }

  #release(bytes: number): void {
    this.#pendingBytes -= bytes;
    while (this.#waiting.length > 0 && this.#pendingBytes <= pendingLimitBytes) this.#waiting.shift()?.resolve();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure);
    for (const { runs } of this.#lanes.values()) {
      for (const { sending } of runs.splice(0)) sending.reject(this.#failure);
    }
  }
}

/** Part of a batch: how many records of a run it holds. */
interface BatchPart {
  readonly run: Run;
  readonly count: number;
}

/** Encodes as many waiting records as one batch takes. The runs stay in the lane until the batch is acknowledged. */
function fill({ runs, batch }: Lane): BatchPart[] {
  const parts: BatchPart[] = [];
  batch.start();
  for (const run of runs) {
    const before = run.next;
    let record = run.records[run.next];
    while (record !== undefined && batch.add(record)) record = run.records[++run.next];
    if (run.next > before) parts.push({ run, count: run.next - before });
    if (record !== undefined) break;
  }
  return parts;
}

/** Tells each `send` in a batch how far it is, and gives the weight of the records that no longer wait. */
function acknowledge({ runs, partition }: Lane, parts: readonly BatchPart[], baseOffset: bigint): number {
  let next = baseOffset;
  let released = 0;
  for (const { run, count } of parts) {
    const { records, sending } = run;
    next += BigInt(count);
    sending.acknowledged.set(partition, next - 1n);
    sending.open -= count;
    if (sending.open === 0) sending.resolve(sending.acknowledged);
    for (let i = run.next - count; i < run.next; i++) released += weight(records[i]);
    if (run.next === records.length) runs.shift();
  }
  return released;
}

/** About how many bytes a record takes. */
function weight(record: EventRecord | undefined): number {
  return record === undefined ? 0 : (record.key?.length ?? 0) + (record.value?.length ?? 0) + 64;
}

/** The header of a record batch, up to its first record (https://kafka.apache.org/documentation/#recordbatch). */
const headerBytes = 61;
const crcFrom = 21;

/** A record batch (version 2, uncompressed) in a buffer that is used again for the next one. */
class RecordBatch {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #at = headerBytes;
  #firstMs = 0;
  #lastMs = 0;
  count = 0;

  start(): void {
    this.#at = headerBytes;
    this.count = 0;
  }

  /** Appends `record`; false, and nothing done, when the batch is full. A batch takes at least one record. */
  add({ key, value, headers, timestamp = Date.now() }: EventRecord): boolean {
    const keyBytes = sizeOf(key);
    const valueBytes = sizeOf(value);
    const pairs = headers === undefined ? [] : Object.entries(headers);
    const fromFirstMs = this.count === 0 ? 0 : timestamp - this.#firstMs;
    const body =
      1 +
      varintSize(fromFirstMs) +
      varintSize(this.count) +
      fieldSize(keyBytes) +
      fieldSize(valueBytes) +
      headersSize(pairs);
    const size = varintSize(body) + body;
    if (this.count > 0 && this.#at + size > batchLimitBytes) return false;
    this.#reserve(size);
    this.#varint(body);
    this.#bytes[this.#at++] = 0;
    this.#varint(fromFirstMs);
    this.#varint(this.count);
    this.#field(key, keyBytes);
    this.#field(value, valueBytes);
    this.#varint(pairs.length);
    for (const [name, content] of pairs) {
      this.#field(name, sizeOf(name));
      this.#field(content, sizeOf(content));
    }
    if (this.count === 0) this.#firstMs = this.#lastMs = timestamp;
    else if (timestamp > this.#lastMs) this.#lastMs = timestamp;
    this.count++;
    return true;
  }

  /** Writes the header; the whole batch, valid until `start`. */
  finish({ id, epoch }: ProducerIdentity, sequence: number): Buffer {
    const batch = this.#bytes.subarray(0, this.#at);
    batch.writeBigInt64BE(0n, 0); // base offset: the broker's to give
    batch.writeInt32BE(this.#at - 12, 8); // length of what follows
    batch.writeInt32BE(-1, 12); // leader epoch: the broker's to give
    batch.writeInt8(2, 16); // version
    batch.writeInt16BE(0, crcFrom); // neither compressed nor transactional
    batch.writeInt32BE(this.count - 1, 23);
    batch.writeBigInt64BE(BigInt(this.#firstMs), 27);
    batch.writeBigInt64BE(BigInt(this.#lastMs), 35);
    batch.writeBigInt64BE(id, 43);
    batch.writeInt16BE(epoch, 51);
    batch.writeInt32BE(sequence, 53);
    batch.writeInt32BE(this.count, 57);
    batch.writeUInt32BE(crc32c(batch.subarray(crcFrom)), 17);
    return batch;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + bytes));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  #field(content: string | Buffer | null, size: number): void {
    this.#varint(size);
    if (typeof content === "string") this.#at += this.#bytes.write(content, this.#at, "utf8");
    else if (content !== null) this.#at += content.copy(this.#bytes, this.#at);
  }

  /** A signed integer as a zigzag varint. By arithmetic, not by bits: a time can lie more than 31 bits from the first. */
  #varint(value: number): void {
    let rest = zigzag(value);
    while (rest > 127) {
      this.#bytes[this.#at++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
  }
}

const zigzag = (value: number) => (value < 0 ? -2 * value - 1 : 2 * value);

function varintSize(value: number): number {
  let size = 1;
  for (let rest = zigzag(value); rest > 127; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Bytes of a key or value, -1 for none. */
function sizeOf(content: string | Buffer | null): number {
  if (content === null) return -1;
  return typeof content === "string" ? Buffer.byteLength(content) : content.length;
}

const fieldSize = (bytes: number) => varintSize(bytes) + Math.max(bytes, 0);

function headersSize(pairs: readonly (readonly [string, string | Buffer])[]): number {
  let size = varintSize(pairs.length);
  for (const [name, content] of pairs) size += fieldSize(sizeOf(name)) + fieldSize(sizeOf(content));
  return size;
}
