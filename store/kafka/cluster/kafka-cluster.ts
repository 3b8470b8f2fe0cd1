import { ConstantBackoff, handleAll, handleWhen, retry } from "cockatiel";
import { isTidelineError } from "../../../core/errors.ts";
import { ConnectionPool, listOffsetsV8, metadataV12 } from "../client/client.ts";
import { type Brokers, parseBrokers } from "./brokers.ts";
import { leaderlessMetadata } from "./leaderless-metadata.ts";
import { isUnknownTopic, noLeader, topicMissing } from "./log-errors.ts";
import { answered, closeConnections } from "./silent-broker.ts";

/** A topic as the cluster describes it. */
export interface TopicMetadata {
  readonly id: string;
  /** The broker that leads each partition. Undefined while there is none. */
  readonly leaders: readonly (Brokers[number] | undefined)[];
}

/** How long a description of a topic is used before it is asked for again. */
const METADATA_AGE_MS = 5_000;
/** The longest time to connect to a broker. The other brokers of a fetch wait for it. */
export const CONNECT_TIMEOUT_MS = 2_000;
/** The longest wait for a broker that accepts connections and does not answer. Then the next broker is asked. */
export const ANSWER_TIMEOUT_MS = 10_000;
const EVERY_REPLICA = -1;
const READ_UNCOMMITTED = 0;
const READ_COMMITTED = 1;
const LATEST = -1n;

interface OffsetQuestion {
  readonly timestamp: bigint;
  readonly isolation: number;
}

type Metadata = Awaited<ReturnType<typeof metadataV12.api.async>>;

const PATIENCE = { maxAttempts: 2, backoff: new ConstantBackoff(200) };
const patiently = retry(handleAll, PATIENCE);
/** The retries of calls that check the topic with `topic` first, which already waits for a missing one. */
const patientlyUnlessMissing = retry(
  handleWhen((error) => !isTidelineError(error, "TOPIC_MISSING")),
  PATIENCE,
);

/**
 * Topics, leaders and offsets of a Kafka cluster, on connections of its own. The client's `metadata` fails for a topic
 * in which one partition has no leader; this class reports which partition it is.
 */
export class KafkaCluster {
  readonly #bootstrap: Brokers;
  readonly #pool: ConnectionPool;
  readonly #answerTimeoutMs: number;
  #known: Brokers = [];
  /** The broker that answered last. It is asked first. */
  #answered: Brokers[number] | undefined;
  readonly #topics = new Map<string, { readonly metadata: TopicMetadata; readonly atMs: number }>();
  readonly #closing = new AbortController();

  constructor(brokers: string, clientId: string, { answerTimeoutMs = ANSWER_TIMEOUT_MS } = {}) {
    this.#bootstrap = parseBrokers(brokers);
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#pool = new ConnectionPool(clientId, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: 2 * answerTimeoutMs,
    });
  }

  /**
   * Returns the cluster's description of a topic, at most five seconds old, or a new one when `fresh`. Throws
   * TOPIC_MISSING.
   */
  async topic(name: string, { fresh = false } = {}): Promise<TopicMetadata> {
    const held = this.#topics.get(name);
    if (!fresh && held !== undefined && performance.now() - held.atMs < METADATA_AGE_MS) return held.metadata;
    const answer = await patiently.execute(() => this.#ask(name), this.#closing.signal);
    const topic = answer.topics.find((one) => one.name === name);
    if (topic === undefined) throw topicMissing(name);
    this.#known = answer.brokers;
    const brokers = new Map(answer.brokers.map((broker) => [broker.nodeId, broker]));
    const leaders = topic.partitions
      .toSorted((a, b) => a.partitionIndex - b.partitionIndex)
      .map(({ leaderId }) => brokers.get(leaderId));
    const metadata = { id: topic.topicId, leaders };
    this.#topics.set(name, { metadata, atMs: performance.now() });
    return metadata;
  }

  /** Forgets a topic's description, because a leader may have changed. The next call reads it again. */
  forget(topic: string): void {
    this.#topics.delete(topic);
  }

  /**
   * Returns the offsets of some partitions at a timestamp (-2: the earliest, -1: the last stable one). Absent
   * `partitions`: of all. Throws LOG_UNREADABLE when one of them has no leader.
   */
  offsets(topic: string, timestamp: bigint, partitions?: readonly number[]): Promise<Map<number, bigint>> {
    return this.#offsets(topic, { timestamp, isolation: READ_COMMITTED }, partitions);
  }

  /** Returns the end of each partition, records of open transactions included. Throws as `offsets`. */
  ends(topic: string): Promise<Map<number, bigint>> {
    return this.#offsets(topic, { timestamp: LATEST, isolation: READ_UNCOMMITTED });
  }

  #offsets(topic: string, asked: OffsetQuestion, partitions?: readonly number[]): Promise<Map<number, bigint>> {
    return patientlyUnlessMissing.execute(async () => {
      const { leaders } = await this.topic(topic, { fresh: true });
      const found = await Promise.all(
        [...byLeader(topic, leaders, partitions ?? [...leaders.keys()])].map(([leader, partitions]) =>
          this.#offsetsAt(leader, { topic, partitions, ...asked }),
        ),
      );
      return new Map(found.flat());
    }, this.#closing.signal);
  }

  /** Closes the connections. Calls under way fail, and are not retried. */
  async close(): Promise<void> {
    this.#closing.abort();
    await closeConnections(this.#pool);
  }

  async #offsetsAt(
    leader: Brokers[number],
    { topic, partitions, timestamp, isolation }: { topic: string; partitions: readonly number[] } & OffsetQuestion,
  ): Promise<[number, bigint][]> {
    const asked = partitions.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp }));
    const connection = await this.#pool.get(leader);
    const answer = listOffsetsV8.api.async(connection, EVERY_REPLICA, isolation, [{ name: topic, partitions: asked }]);
    const { topics } = await answered(connection, answer, this.#answerTimeoutMs);
    return topics.flatMap((one) =>
      one.partitions.map(({ partitionIndex, offset }): [number, bigint] => [partitionIndex, offset]),
    );
  }

  /**
   * Asks one broker after the other until one answers. Throws TOPIC_MISSING, or the last broker's error when none
   * answers.
   */
  async #ask(topic: string): Promise<Metadata> {
    const preferred = this.#answered === undefined ? [] : [this.#answered];
    let failure: unknown;
    for (const broker of distinct([...preferred, ...this.#known, ...this.#bootstrap])) {
      this.#closing.signal.throwIfAborted();
      try {
        const answer = await this.#askBroker(broker, topic);
        this.#answered = broker;
        return answer;
      } catch (error) {
        if (isTidelineError(error, "TOPIC_MISSING")) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** Returns the answer even if a partition has an error: such a partition has no leader. */
  async #askBroker(broker: Brokers[number], topic: string): Promise<Metadata> {
    const connection = await this.#pool.get(broker);
    try {
      const answer = metadataV12.api.async(connection, [topic], false, false);
      return await answered(connection, answer, this.#answerTimeoutMs);
    } catch (error) {
      if (isUnknownTopic(error)) throw topicMissing(topic, error);
      const answer = leaderlessMetadata(error);
      if (answer === null) throw error;
      return answer;
    }
  }
}

/** Returns the brokers without repetition, in order. */
function distinct(brokers: Brokers): Brokers {
  return [...new Map(brokers.map((broker) => [`${broker.host}:${broker.port}`, broker])).values()];
}

function byLeader(
  topic: string,
  leaders: TopicMetadata["leaders"],
  partitions: readonly number[],
): Map<Brokers[number], number[]> {
  const found = new Map<Brokers[number], number[]>();
  for (const partition of partitions) {
    const leader = leaders[partition];
    if (leader === undefined) throw noLeader(topic, partition);
    found.set(leader, [...(found.get(leader) ?? []), partition]);
  }
  return found;
}
