import { Consumer } from "@platformatic/kafka";
import type { Logger } from "pino";
import { parseBrokers } from "../store/log.ts";

/**
 * The consumer group that splits a topic's partitions among speed processes. It decides who reads what and nothing else: positions live
 * in Redis, and a member that was declared dead but still applies does no harm (invariant 2).
 */
export class Membership {
  readonly #consumer: Consumer;
  readonly #topic: string;
  #partitions: readonly number[] = [];

  constructor(options: {
    brokers: string;
    topic: string;
    groupId: string;
    logger: Logger;
    onChange: (partitions: readonly number[]) => void;
  }) {
    const { brokers, topic, groupId, logger, onChange } = options;
    this.#topic = topic;
    this.#consumer = new Consumer({
      clientId: "tideline-speed",
      groupId,
      bootstrapBrokers: parseBrokers(brokers),
      sessionTimeout: 6_000,
      heartbeatInterval: 1_500,
      rebalanceTimeout: 6_000,
      retries: true,
      retryDelay: 500,
    });
    this.#consumer.on("consumer:group:join", ({ assignments }) => {
      this.#partitions = (assignments ?? [])
        .filter((found) => found.topic === topic)
        .flatMap(({ partitions }) => partitions)
        .sort((a, b) => a - b);
      logger.info({ topic, partitions: this.#partitions }, "partitions assigned");
      onChange(this.#partitions);
    });
    this.#consumer.on("consumer:heartbeat:error", ({ error }) =>
      logger.warn({ topic, error: error.message }, "group heartbeat failed"),
    );
  }

  get partitions(): readonly number[] {
    return this.#partitions;
  }

  async join(): Promise<void> {
    this.#consumer.topics.trackAll(this.#topic);
    await this.#consumer.joinGroup({});
  }

  async leave(): Promise<void> {
    await this.#consumer.leaveGroup(true);
    await this.#consumer.close(true);
  }
}
