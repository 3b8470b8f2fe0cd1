import { setTimeout as sleep } from "node:timers/promises";
import {
  Admin,
  type ClusterMetadata,
  Consumer,
  FetchIsolationLevels,
  IS_CONTROL,
  ListOffsetTimestamps,
  type RecordsBatch,
} from "@platformatic/kafka";
import { isTidelineError, TidelineError } from "../core/errors.ts";

export interface TopicSpec {
  readonly name: string;
  readonly partitions: number;
  /** Kafka's topic settings beyond `topicDefaults`; they apply only when the topic is created. */
  readonly config?: Readonly<Record<string, string>>;
}

/**
 * What every topic is created with: records stay until we delete them, because state is recomputed from them, and a batch
 * may hold 10 MB, so that no event that fits the contract is refused.
 */
export const topicDefaults: Readonly<Record<string, string>> = {
  "retention.ms": "-1",
  "max.message.bytes": String(10 * 1024 * 1024),
};

/** The topic of `stream` in an installation: several may share a Kafka, told apart by their namespace ("" for none). */
export function topicName(namespace: string, stream: string): string {
  return namespace === "" ? stream : `${namespace}.${stream}`;
}

/** Where the records of `topic` go that do not decode; it has one partition. */
export function deadLetterTopic(topic: string): string {
  return `${topic}.dead-letters`;
}

/**
 * Creates the topics that do not exist and waits until each has its leaders. An existing topic is left as it is.
 * Throws TidelineError NOT_READY when Kafka does not answer within ten seconds, and CONFIG_INVALID when an existing topic has
 * fewer partitions than `topics` asks for.
 */
export async function ensureTopics(brokers: string, topics: readonly TopicSpec[]): Promise<void> {
  const admin = new Admin({ clientId: "tideline", bootstrapBrokers: brokers.split(","), retries: 0 });
  try {
    const existing = new Set(await admin.listTopics({}));
    await Promise.all(topics.filter(({ name }) => !existing.has(name)).map((topic) => createTopic(admin, topic)));
    const { topics: found } = await metadataWithLeaders(admin, topics);
    for (const topic of topics) checkPartitions(topic, found.get(topic.name)?.partitionsCount ?? 0);
  } catch (error) {
    throw isTidelineError(error) ? error : unreachable(brokers, error);
  } finally {
    await admin.close();
  }
}

/**
 * The last record of each partition that `read` understands, as what `read` gives; undefined where there is none.
 * `read` gives undefined for a record that it does not understand: the one before it is tried then.
 * Throws TidelineError NOT_READY and TOPIC_MISSING.
 */
export async function lastOfEachPartition<T>(
  brokers: string,
  topic: string,
  read: (value: Buffer) => T | undefined,
): Promise<Map<number, T | undefined>> {
  const consumer = new Consumer({
    clientId: "tideline",
    groupId: "tideline-unused",
    bootstrapBrokers: brokers.split(","),
  });
  try {
    const metadata = await consumer.metadata({ topics: [topic] });
    const partitions = Array.from(
      { length: metadata.topics.get(topic)?.partitionsCount ?? 0 },
      (_, partition) => partition,
    );
    // Uncommitted too: the last stable offset lies before an open transaction, and before all that was written after it began.
    const isolationLevel = FetchIsolationLevels.READ_UNCOMMITTED;
    const bounds = async (timestamp: bigint) =>
      (await consumer.listOffsets({ topics: [topic], timestamp, isolationLevel })).get(topic) ?? [];
    const [starts, ends] = [await bounds(ListOffsetTimestamps.EARLIEST), await bounds(ListOffsetTimestamps.LATEST)];
    const last = partitions.map(async (partition) => {
      const span = { partition, from: starts[partition] ?? 0n, to: ends[partition] ?? 0n };
      return [partition, await lastWithin(consumer, metadata, topic, span, read)] as const;
    });
    return new Map(await Promise.all(last));
  } catch (error) {
    if (isTidelineError(error)) throw error;
    if (error instanceof Error && error.message.startsWith("Unknown topic")) {
      throw new TidelineError("TOPIC_MISSING", `Kafka has no topic ${topic}`, "create it first", { cause: error });
    }
    throw unreachable(brokers, error);
  } finally {
    await consumer.close();
  }
}

async function createTopic(admin: Admin, { name, partitions, config }: TopicSpec): Promise<void> {
  const configs = Object.entries({ ...topicDefaults, ...config }).map(([key, value]) => ({ name: key, value }));
  try {
    // -1 replica: as many as the broker's default.replication.factor says.
    await admin.createTopics({ topics: [name], partitions, replicas: -1, configs });
  } catch (error) {
    const kafka = error as { findBy?: (property: string, value: unknown) => unknown };
    const madeMeanwhile = kafka.findBy?.("apiId", "TOPIC_ALREADY_EXISTS");
    if (!madeMeanwhile) throw error;
  }
}

/** A topic exists for its brokers a moment after it was created. */
async function metadataWithLeaders(admin: Admin, topics: readonly TopicSpec[]): Promise<ClusterMetadata> {
  const names = topics.map(({ name }) => name);
  for (const deadlineMs = performance.now() + 10_000; ; await sleep(50)) {
    try {
      const metadata = await admin.metadata({ topics: names, forceUpdate: true });
      const partitions = names.flatMap((name) => metadata.topics.get(name)?.partitions ?? []);
      if (partitions.length > 0 && partitions.every(({ leader }) => leader >= 0)) return metadata;
      if (performance.now() > deadlineMs) throw new Error("a partition has no leader");
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
  }
}

function checkPartitions({ name, partitions }: TopicSpec, found: number): void {
  if (found >= partitions) return;
  throw new TidelineError(
    "CONFIG_INVALID",
    `topic ${name} has ${found} partitions, but its stream asks for ${partitions}`,
    "set TIDELINE_NAMESPACE to start with topics of its own, or delete the topic if its records are not needed",
  );
}

function unreachable(brokers: string, cause: unknown): TidelineError {
  const hint = "start the servers with `tideline up`, or set KAFKA_BROKERS to the Kafka that runs";
  return new TidelineError("NOT_READY", `Kafka does not answer at ${brokers}`, hint, { cause });
}

interface PartitionSpan {
  readonly partition: number;
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * Reads backwards from the end in growing steps: offsets are not dense (transaction markers, compaction), and the last
 * records need not be ones that `read` understands.
 */
async function lastWithin<T>(
  consumer: Consumer,
  metadata: ClusterMetadata,
  topic: string,
  { partition, from, to }: PartitionSpan,
  read: (value: Buffer) => T | undefined,
): Promise<T | undefined> {
  let end = to;
  for (let step = 1n; end > from; step *= 8n) {
    const start = end - step > from ? end - step : from;
    let last: T | undefined;
    for (let position = start; position < end; ) {
      const batches = await fetchFrom(consumer, metadata, topic, partition, position);
      for (const [offset, value] of batches.flatMap(dataRecords)) {
        if (offset >= start && offset < end) last = read(value) ?? last;
      }
      const final = batches.at(-1);
      position = final === undefined ? end : final.firstOffset + BigInt(final.lastOffsetDelta) + 1n;
    }
    if (last !== undefined) return last;
    end = start;
  }
  return undefined;
}

async function fetchFrom(
  consumer: Consumer,
  { topics }: ClusterMetadata,
  topic: string,
  partition: number,
  fetchOffset: bigint,
): Promise<RecordsBatch[]> {
  const found = topics.get(topic);
  const place = {
    partition,
    fetchOffset,
    currentLeaderEpoch: -1,
    lastFetchedEpoch: -1,
    partitionMaxBytes: 1024 * 1024,
  };
  const { responses } = await consumer.fetch({
    node: found?.partitions[partition]?.leader ?? -1,
    topics: [{ topicId: found?.id ?? "", partitions: [place] }],
    isolationLevel: FetchIsolationLevels.READ_UNCOMMITTED,
    maxWaitTime: 1_000,
    minBytes: 1,
    maxBytes: 1024 * 1024,
  });
  return responses[0]?.partitions[0]?.records ?? [];
}

/** Offset and value of a batch's records; a control batch (transaction markers, KIP-98) has none. */
function dataRecords({ attributes, firstOffset, records }: RecordsBatch): [bigint, Buffer][] {
  if ((attributes & IS_CONTROL) !== 0) return [];
  return records.flatMap(({ offsetDelta, value }) =>
    value === null ? [] : [[firstOffset + BigInt(offsetDelta), value]],
  );
}
