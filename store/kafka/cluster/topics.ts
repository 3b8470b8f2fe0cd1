import { ConstantBackoff, handleAll, retry, TimeoutStrategy, timeout, wrap } from "cockatiel";
import { amount } from "../../../core/amount.ts";
import { alerts } from "../../../core/contract/alerts.ts";
import { rulePositionsTopic, topicName, undeliveredTopic } from "../../../core/contract/topic-names.ts";
import { isTidelineError, startHint, TidelineError } from "../../../core/errors.ts";
import { Admin, type ClusterMetadata } from "../client/client.ts";
import { parseBrokers } from "./brokers.ts";
import { withLeaderless } from "./leaderless-metadata.ts";

export interface TopicSpec {
  readonly name: string;
  readonly partitions: number;
  /** Kafka's topic settings in addition to `topicDefaults`. They are used only when the topic is created. */
  readonly config?: Readonly<Record<string, string>>;
  /** Whether the topic belongs to another system, because its definition names it. */
  readonly isGiven?: boolean;
}

/**
 * The settings of every new topic. Records stay until we delete them, because state is recomputed from them. A batch
 * may have 10 MB, so that no event that fits the contract is refused.
 */
export const topicDefaults: Readonly<Record<string, string>> = {
  "retention.ms": "-1",
  "max.message.bytes": String(10 * 1024 * 1024),
};

/** The settings of a new topic of dead letters. */
export const letterTopicDefaults: Readonly<Record<string, string>> = {
  // A dead letter is its record and some headers.
  "max.message.bytes": String(12 * 1024 * 1024),
  // Use the broker's clock: the broker refuses timestamps an hour ahead of it, and a dead letter must be accepted
  // whatever the clock of this machine shows.
  "message.timestamp.type": "LogAppendTime",
};

export {
  deadLetterTopic,
  rulePositionsTopic,
  topicName,
  topicOf,
  undeliveredTopic,
} from "../../../core/contract/topic-names.ts";

/**
 * The topic of rules' positions. Only the last record of each key is needed, so its segments are small and cleaned
 * soon.
 */
export function rulePositionsSpec(namespace: string): TopicSpec {
  const config = {
    "cleanup.policy": "compact",
    "segment.bytes": String(4 * 1024 * 1024),
    "segment.ms": String(10 * 60_000),
    "min.cleanable.dirty.ratio": "0.1",
  };
  return { name: rulePositionsTopic(topicName(namespace, alerts.name)), partitions: 1, config };
}

/**
 * Returns the topics that belong to that of the alerts: positions of rules and deliveries, and alerts that could not be
 * delivered.
 */
export function alertTopics(namespace: string): TopicSpec[] {
  const undelivered = undeliveredTopic(topicName(namespace, alerts.name));
  return [rulePositionsSpec(namespace), { name: undelivered, partitions: 1, config: letterTopicDefaults }];
}

/**
 * Creates the topics that do not exist and waits until their partitions have leaders. Does not change existing topics.
 * Returns the created topics. Throws TidelineError NOT_READY when Kafka does not answer within ten seconds, and
 * CONFIG_INVALID when an existing topic has fewer partitions than `topics` asks for.
 */
export async function ensureTopics(brokers: string, topics: readonly TopicSpec[]): Promise<TopicSpec[]> {
  const admin = withLeaderless(
    new Admin({ clientId: "tideline", bootstrapBrokers: parseBrokers(brokers), retries: 0 }),
  );
  try {
    const existing = new Set(await admin.listTopics({}));
    const created = topics.filter(({ name }) => !existing.has(name));
    await Promise.all(created.map((topic) => createTopic(admin, topic)));
    const { topics: found } = await metadataWithLeaders(admin, topics, created);
    for (const topic of topics) checkPartitions(topic, found.get(topic.name)?.partitionsCount ?? 0);
    return created;
  } catch (error) {
    throw isTidelineError(error) ? error : unreachable(brokers, error);
  } finally {
    await admin.close();
  }
}

/**
 * Deletes the topics of the installation with this namespace, with those of dead letters. Throws NOT_READY when Kafka
 * does not answer, and RangeError for the empty namespace, whose topics cannot be distinguished from others.
 */
export async function deleteTopics(brokers: string, namespace: string): Promise<void> {
  if (namespace === "") throw new RangeError("a namespace is needed");
  const admin = withLeaderless(
    new Admin({ clientId: "tideline", bootstrapBrokers: parseBrokers(brokers), retries: 0 }),
  );
  try {
    const topics = (await admin.listTopics({})).filter((name) => name.startsWith(topicName(namespace, "")));
    if (topics.length > 0) await admin.deleteTopics({ topics });
  } catch (error) {
    throw unreachable(brokers, error);
  } finally {
    await admin.close();
  }
}

/** Returns the names of all topics except Kafka's own, sorted. Throws NOT_READY when Kafka does not answer. */
export async function topicNames(brokers: string): Promise<string[]> {
  const admin = withLeaderless(
    new Admin({ clientId: "tideline", bootstrapBrokers: parseBrokers(brokers), retries: 1, retryDelay: 200 }),
  );
  try {
    return (await admin.listTopics()).filter((name) => !name.startsWith("__")).sort();
  } catch (error) {
    throw unreachable(brokers, error);
  } finally {
    await admin.close();
  }
}

async function createTopic(admin: Admin, { name, partitions, config }: TopicSpec): Promise<void> {
  const configs = Object.entries({ ...topicDefaults, ...config }).map(([key, value]) => ({ name: key, value }));
  try {
    // -1 replicas means the broker's default.replication.factor.
    await admin.createTopics({ topics: [name], partitions, replicas: -1, configs });
  } catch (error) {
    const kafka = error as { findBy?: (property: string, value: unknown) => unknown };
    const madeMeanwhile = kafka.findBy?.("apiId", "TOPIC_ALREADY_EXISTS");
    if (!madeMeanwhile) throw error;
  }
}

/**
 * Waits until Kafka has leaders for the topics. Brokers know a new topic only after a moment, so it asks every 50 ms,
 * for ten seconds.
 */
function metadataWithLeaders(
  admin: Admin,
  topics: readonly TopicSpec[],
  created: readonly TopicSpec[],
): Promise<ClusterMetadata> {
  const names = topics.map(({ name }) => name);
  const again = retry(handleAll, { maxAttempts: Number.POSITIVE_INFINITY, backoff: new ConstantBackoff(50) });
  return wrap(timeout(10_000, TimeoutStrategy.Aggressive), again).execute(async () => {
    const metadata = await admin.metadata({ topics: names, forceUpdate: true });
    const partitions = created.flatMap(({ name }) => metadata.topics.get(name)?.partitions ?? []);
    if (partitions.some(({ leader }) => leader < 0)) throw new Error("a partition has no leader");
    return metadata;
  });
}

function checkPartitions({ name, partitions, isGiven }: TopicSpec, found: number): void {
  if (found >= partitions) return;
  if (isGiven)
    throw new TidelineError(
      "CONFIG_INVALID",
      `topic ${name} has ${amount(found, "partition")}, but its stream asks for ${partitions}`,
      `set the stream's partitions to ${found}: the topic belongs to somebody else, and Tideline does not change it`,
    );
  throw new TidelineError(
    "CONFIG_INVALID",
    `topic ${name} has ${amount(found, "partition")}, but its stream asks for ${partitions}`,
    "set TIDELINE_NAMESPACE to start with topics of its own, or delete the topic if its records are not needed",
  );
}

/** Returns the error of a Kafka that gives no answer, or no usable one. `cause` is the last failure. */
export function unreachable(brokers: string, cause: unknown): TidelineError {
  const hint = startHint("Kafka", "KAFKA_BROKERS");
  return new TidelineError("NOT_READY", `Kafka does not answer at ${brokers}: ${reasonOf(cause)}`, hint, { cause });
}

/**
 * Returns the text of an error of Kafka's client and of its cause: the client wraps the broker's codes and the
 * network's errors.
 */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const [inner] = error instanceof AggregateError ? (error.errors as unknown[]) : [error.cause];
  const words = error.message.replace(/\.$/, "");
  return inner === undefined || inner === null ? words : `${words}: ${reasonOf(inner)}`;
}
