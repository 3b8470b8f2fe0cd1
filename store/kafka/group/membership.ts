import type { Logger } from "pino";
import { Consumer } from "../client/client.ts";
import { parseBrokers } from "../cluster/brokers.ts";
import { withLeaderless } from "../cluster/leaderless-metadata.ts";

/**
 * How often to see whether the topic has more partitions: the group itself would not notice until somebody joins or
 * leaves.
 */
const LOOK_EVERY_MS = 5_000;

/**
 * The consumer group that splits a topic's partitions among speed processes. It decides who reads what and nothing
 * else: positions live in Redis, and a member that was declared dead but still applies does no harm (invariant 2).
 */
export class Membership {
  readonly #consumer: Consumer;
  readonly #topic: string;
  readonly #logger: Logger;
  #looking: NodeJS.Timeout | undefined;
  #partitions: readonly number[] = [];

  constructor(options: {
    brokers: string;
    topic: string;
    groupId: string;
    /** How brokers see the member; "tideline-speed" when absent. */
    clientId?: string;
    logger: Logger;
    onChange: (partitions: readonly number[]) => void;
    /**
     * A heartbeat has ended, null: well. A member whose heartbeats fail does not notice when partitions change hands.
     */
    onHeartbeat: (error: Error | null) => void;
  }) {
    const { brokers, topic, groupId, clientId = "tideline-speed", logger, onChange, onHeartbeat } = options;
    this.#topic = topic;
    this.#logger = logger;
    this.#consumer = withLeaderless(
      new Consumer({
        clientId,
        groupId,
        bootstrapBrokers: parseBrokers(brokers),
        sessionTimeout: 6_000,
        heartbeatInterval: 1_500,
        rebalanceTimeout: 6_000,
        retries: true,
        retryDelay: 500,
      }),
    );
    this.#consumer.on("consumer:group:join", ({ assignments }) => {
      this.#partitions = (assignments ?? [])
        .filter((found) => found.topic === topic)
        .flatMap(({ partitions }) => partitions)
        .sort((a, b) => a - b);
      logger.info({ topic, partitions: this.#partitions }, "partitions assigned");
      onChange(this.#partitions);
    });
    this.#consumer.on("consumer:heartbeat:error", ({ error }) => {
      onHeartbeat(error);
      logger.warn({ topic, error: error.message }, "group heartbeat failed");
    });
    this.#consumer.on("consumer:heartbeat:end", () => onHeartbeat(null));
  }

  get partitions(): readonly number[] {
    return this.#partitions;
  }

  async join(): Promise<void> {
    this.#consumer.topics.trackAll(this.#topic);
    let known = await this.#countPartitions();
    await this.#consumer.joinGroup({});
    const look = async () => {
      const count = await this.#countPartitions();
      if (count <= known) return;
      this.#logger.info({ topic: this.#topic, partitions: count }, "the topic has more partitions");
      // When the group's leader joins again, partitions are assigned anew.
      await this.#consumer.joinGroup({});
      known = count;
    };
    this.#looking = setInterval(() => {
      // Not counted: what keeps it from looking makes heartbeats and fetches fail too.
      look().catch((error: Error) =>
        this.#logger.warn({ topic: this.#topic, error: error.message }, "cannot look for more partitions"),
      );
    }, LOOK_EVERY_MS);
  }

  async #countPartitions(): Promise<number> {
    const { topics } = await this.#consumer.metadata({ topics: [this.#topic], forceUpdate: true });
    return topics.get(this.#topic)?.partitionsCount ?? 0;
  }

  async leave(): Promise<void> {
    clearInterval(this.#looking);
    await this.#consumer.leaveGroup(true);
    await this.#consumer.close(true);
  }
}
