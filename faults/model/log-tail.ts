import Cluster from "kafkajs/src/cluster/index.js";
import { createLogger } from "kafkajs/src/loggers/index.js";
import createSocketFactory from "kafkajs/src/network/socketFactory.js";

export interface TailRecord {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;
}

/** A record that was read, and whether it counts: the marker of its transaction may be far behind it. */
interface Pending {
  readonly record: TailRecord;
  readonly producerId: string;
  fate: "counts" | "void" | "open";
}

const FETCH_BYTES = 2 * 1024 * 1024;
const WAIT_MS = 100;
const RETRY_MS = 200;
const METADATA_EVERY_MS = 1_000;

/**
 * Follows a topic from its beginning and keeps what it read, whatever Kafka deletes later. It shares no line with our
 * reader: it fetches with kafkajs, uncommitted, and decides by the markers in the log itself which transactions count.
 */
export class LogTail {
  readonly topic: string;
  readonly #brokers: string;
  readonly #onRecord: (record: TailRecord) => void;
  readonly #pending = new Map<number, Pending[]>();
  readonly #fetched = new Map<number, bigint>();
  readonly #decided = new Map<number, bigint>();
  readonly #done: Promise<void>;
  #closed = false;
  /** Fetches that brought nothing. */
  #quiet = 0;
  #error: Error | null = null;

  /** `onRecord` gets each record of a partition that counts, in their order. */
  constructor(brokers: string, topic: string, onRecord: (record: TailRecord) => void) {
    this.topic = topic;
    this.#brokers = brokers;
    this.#onRecord = onRecord;
    this.#done = this.#run();
  }

  /** Partition -> the position up to which every record is known, and whether it counts. */
  get positions(): ReadonlyMap<number, bigint> {
    return this.#decided;
  }

  /** Partition -> the end of the log as far as it was read. */
  get ends(): ReadonlyMap<number, bigint> {
    return new Map(this.#fetched);
  }

  /** Waits until everything below `cut` is known. Throws when that takes too long. */
  async reach(cut: ReadonlyMap<number, bigint>, limitMs = 90_000): Promise<void> {
    const deadlineMs = performance.now() + limitMs;
    const short = () => [...cut].find(([partition, position]) => (this.#decided.get(partition) ?? 0n) < position);
    for (let missing = short(); missing !== undefined; missing = short()) {
      if (this.#error !== null) throw this.#error;
      if (this.#closed || performance.now() > deadlineMs)
        throw new Error(
          `${this.topic}/${missing[0]}: the oracle knows the log up to ` +
            `${this.#decided.get(missing[0]) ?? 0n}, not to ${missing[1]}`,
        );
      await pause(20);
    }
  }

  /** Waits until the broker has said that there is nothing more. */
  async caughtUp(limitMs = 30_000): Promise<void> {
    const deadlineMs = performance.now() + limitMs;
    const before = this.#quiet;
    while (this.#quiet < before + 2) {
      if (performance.now() > deadlineMs) throw new Error(`${this.topic}: no end within ${limitMs / 1_000} s`);
      await pause(20);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const cluster = openCluster(this.#brokers);
      try {
        await cluster.connect();
        await cluster.addTargetTopic(this.topic);
        await this.#follow(cluster);
      } catch (error) {
        if ((error as { type?: string }).type === "OFFSET_OUT_OF_RANGE") {
          this.#error = error as Error;
          this.#closed = true;
        } else await pause(RETRY_MS); // the broker is away: it is killed on purpose
      } finally {
        await cluster.disconnect().catch(() => undefined);
      }
    }
  }

  async #follow(cluster: InstanceType<typeof Cluster>): Promise<void> {
    let metadataAtMs = Number.NEGATIVE_INFINITY;
    while (!this.#closed) {
      if (performance.now() - metadataAtMs > METADATA_EVERY_MS) {
        await cluster.refreshMetadata();
        metadataAtMs = performance.now();
      }
      const partitions = cluster.findTopicPartitionMetadata(this.topic);
      const [first] = partitions;
      if (first === undefined) {
        await pause(RETRY_MS);
        continue;
      }
      const broker = await cluster.findBroker({ nodeId: first.leader });
      const wanted = partitions.map(({ partitionId }) => ({
        partition: partitionId,
        fetchOffset: String(this.#fetched.get(partitionId) ?? 0n),
        maxBytes: FETCH_BYTES,
      }));
      const { responses } = await broker.fetch({
        isolationLevel: 0,
        maxWaitTime: WAIT_MS,
        minBytes: 1,
        maxBytes: 4 * FETCH_BYTES,
        topics: [{ topic: this.topic, partitions: wanted }],
      });
      const answers = responses.flatMap((response) => response.partitions);
      for (const { partition, messages } of answers) this.#take(partition, messages);
      if (answers.every(({ messages }) => messages.length === 0)) this.#quiet += 1;
    }
  }

  #take(partition: number, messages: readonly KafkajsRecord[]): void {
    const pending = this.#pending.get(partition) ?? [];
    this.#pending.set(partition, pending);
    for (const { offset: text, key, value, headers, isControlRecord, batchContext } of messages) {
      const offset = BigInt(text);
      // a batch begins before the position that was asked for
      if (offset < (this.#fetched.get(partition) ?? 0n)) continue;
      this.#fetched.set(partition, offset + 1n);
      const { producerId, inTransaction } = batchContext;
      const record = { partition, offset, key, value, headers };
      if (isControlRecord) {
        // Key of a marker: version and type, 16 bits each; type 1 is a commit (KIP-98).
        const fate = key?.readInt16BE(2) === 1 ? "counts" : "void";
        for (const one of pending) if (one.fate === "open" && one.producerId === producerId) one.fate = fate;
        pending.push({ record, producerId, fate: "void" });
      } else pending.push({ record, producerId, fate: inTransaction ? "open" : "counts" });
    }
    let decided = 0;
    for (const { record, fate } of pending) {
      if (fate === "open") break;
      if (fate === "counts") this.#onRecord(record);
      this.#decided.set(partition, record.offset + 1n);
      decided += 1;
    }
    pending.splice(0, decided);
  }
}

function openCluster(brokers: string) {
  return new Cluster({
    logger: createLogger({ level: 0, logCreator: () => () => undefined }),
    socketFactory: createSocketFactory(),
    brokers: brokers.split(","),
    clientId: "oracle",
    connectionTimeout: 1_000,
    requestTimeout: 5_000,
    enforceRequestTimeout: true,
    metadataMaxAge: 300_000,
    allowAutoTopicCreation: false,
    maxInFlightRequests: null,
    isolationLevel: 0,
    retry: { retries: 0 },
  });
}

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
