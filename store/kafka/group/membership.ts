import type { Logger } from "pino";
import { Consumer } from "../client/client.ts";
import { parseBrokers } from "../cluster/brokers.ts";
import { withLeaderless } from "../cluster/leaderless-metadata.ts";
import { closeConnections } from "../cluster/silent-broker.ts";

/**
 * How often to check whether this process is still a member, and whether the topic has more partitions. The group
 * notices new partitions only when a member joins or leaves.
 */
const LOOK_EVERY_MS = 5_000;
/** A member without a heartbeat for this long is removed from the group. Its partitions go to other members. */
const SESSION_MS = 6_000;
/** Longer than a join may take: a join waits for all other members. */
const ANSWER_MS = 15_000;
/**
 * The longest wait for Kafka when leaving. Without an answer, the others get the partitions at the end of the session.
 */
const LEAVE_MS = 5_000;

export interface MembershipOptions {
  readonly brokers: string;
  readonly topic: string;
  readonly groupId: string;
  /** The client id that brokers see. Absent: "tideline-speed". */
  readonly clientId?: string;
  readonly logger: Logger;
  readonly onChange: (partitions: readonly number[]) => void;
  /**
   * Called after each heartbeat, with its error or null. A member whose heartbeats fail does not notice when its
   * partitions change.
   */
  readonly onHeartbeat: (error: Error | null) => void;
}

/**
 * The consumer group that splits a topic's partitions among speed processes. It decides which process reads which
 * partition and nothing else. Positions are in Redis, and a removed member that still applies does no harm (invariant
 * 2).
 *
 * The client gives up after some attempts, and then sends no heartbeats any more. It also asks the same coordinator
 * forever, even when another broker has become the coordinator. So when a heartbeat has failed, a new client joins in
 * its place.
 */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #ended = new AbortController();
  #consumer: Consumer | null = null;
  /** Whether the client has stopped sending heartbeats. */
  #isLost = false;
  /** The number of partitions of the topic when this process last joined. */
  #known = 0;
  #looking: NodeJS.Timeout | undefined;
  #look: Promise<void> | null = null;
  #partitions: readonly number[] = [];

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  get partitions(): readonly number[] {
    return this.#partitions;
  }

  /** Joins the group, and stays in it until `leave`. Throws Kafka's error, or the signal's reason. */
  async join(signal: AbortSignal): Promise<void> {
    await this.#enter(AbortSignal.any([signal, this.#ended.signal]));
    clearInterval(this.#looking);
    this.#looking = setInterval(() => {
      this.#look ??= this.#stay().finally(() => {
        this.#look = null;
      });
    }, LOOK_EVERY_MS);
  }

  /** Leaves the group. When Kafka does not answer, the group notices at the end of the session. */
  async leave(): Promise<void> {
    clearInterval(this.#looking);
    this.#ended.abort();
    await this.#look;
    const consumer = this.#consumer;
    this.#consumer = null;
    if (consumer === null) return;
    if (!this.#isLost) await this.#left(consumer);
    await abandon(consumer);
  }

  async #left(consumer: Consumer): Promise<void> {
    const { topic, logger } = this.#options;
    try {
      const left = async () => consumer.leaveGroup(true);
      await untilAborted(left(), AbortSignal.timeout(LEAVE_MS));
    } catch (error) {
      logger.warn({ topic, error: (error as Error).message }, "cannot leave the group: it notices in some seconds");
    }
  }

  /** Joins with a new client. */
  async #enter(signal: AbortSignal): Promise<void> {
    const before = this.#consumer;
    const consumer = this.#open();
    // Join as the same member, if Kafka still knows it, so that the group does not wait for the old one.
    consumer.memberId = before?.memberId ?? null;
    this.#consumer = consumer;
    if (before !== null) await abandon(before);
    const joined = async () => {
      consumer.topics.trackAll(this.#options.topic);
      this.#known = await this.#countPartitions(consumer);
      await consumer.joinGroup({});
    };
    try {
      await untilAborted(joined(), signal);
      this.#isLost = false;
    } catch (error) {
      this.#consumer = null;
      await abandon(consumer);
      throw error;
    }
  }

  /** Joins again when membership was lost, or when the topic has more partitions. */
  async #stay(): Promise<void> {
    const { topic, logger, onHeartbeat } = this.#options;
    const consumer = this.#consumer;
    try {
      if (consumer === null || this.#isLost) {
        await this.#enter(this.#ended.signal);
        return;
      }
      const count = await untilAborted(this.#countPartitions(consumer), this.#ended.signal);
      if (count <= this.#known) return;
      logger.info({ topic, partitions: count }, "the topic has more partitions");
      // A join of the group's leader assigns partitions again. The client sends no heartbeats until then.
      this.#isLost = true;
      await untilAborted(consumer.joinGroup({}), this.#ended.signal);
      this.#isLost = false;
      this.#known = count;
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      if (this.#isLost) onHeartbeat(error as Error);
      logger.warn({ topic, error: (error as Error).message }, "cannot look after the membership of the group");
    }
  }

  #open(): Consumer {
    const { brokers, topic, groupId, clientId = "tideline-speed", logger, onChange, onHeartbeat } = this.#options;
    const timeouts = { sessionTimeout: SESSION_MS, heartbeatInterval: 1_500, rebalanceTimeout: 6_000 };
    const options = { clientId, groupId, ...timeouts, requestTimeout: ANSWER_MS, retries: 3, retryDelay: 500 };
    const consumer = withLeaderless(new Consumer({ ...options, bootstrapBrokers: parseBrokers(brokers) }));
    const isOurs = () => consumer === this.#consumer;
    const onLost = (error: Error) => {
      if (!isOurs()) return;
      this.#isLost = true;
      onHeartbeat(error);
      logger.warn({ topic, error: error.message }, "group heartbeat failed");
    };
    consumer.on("consumer:group:join", ({ assignments }) => {
      if (!isOurs()) return;
      this.#partitions = (assignments ?? [])
        .filter((found) => found.topic === topic)
        .flatMap(({ partitions }) => partitions)
        .sort((a, b) => a - b);
      logger.info({ topic, partitions: this.#partitions }, "partitions assigned");
      onChange(this.#partitions);
    });
    consumer.on("consumer:heartbeat:error", ({ error }) => onLost(error));
    // This comes after a heartbeat which said that the group assigns partitions again, if this process could not join
    // then.
    consumer.on("error", onLost);
    consumer.on("consumer:heartbeat:end", () => {
      if (isOurs()) onHeartbeat(null);
    });
    return consumer;
  }

  async #countPartitions(consumer: Consumer): Promise<number> {
    const { topic } = this.#options;
    const { topics } = await consumer.metadata({ topics: [topic], forceUpdate: true });
    return topics.get(topic)?.partitionsCount ?? 0;
  }
}

/** Closes a client that is not used any more, without a request to Kafka. */
async function abandon(consumer: Consumer): Promise<void> {
  consumer.memberId = null;
  await consumer.leaveGroup(true);
  await closeConnections(consumer.connections);
  await consumer.close(true);
}

/** Returns the result of `work`. Rejects with the signal's reason as soon as the signal is aborted. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
