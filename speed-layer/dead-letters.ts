import type { Rejected } from "../store/decoder.ts";
import { type EventProducer, openProducer } from "../store/producer.ts";
import { deadLetterTopic } from "../store/topics.ts";

/**
 * Writes what does not decode to its stream's dead letters (invariant 12). A letter's key is its position, so that reading a span again writes
 * the same letters again; its value is the original bytes.
 */
export class DeadLetters {
  readonly #brokers: string;
  #producer: Promise<EventProducer> | null = null;

  constructor(brokers: string) {
    this.#brokers = brokers;
  }

  /** Resolves when Kafka has them all; throws when it does not take them, and begins with a new producer the next time. */
  async send(topic: string, rejected: readonly Rejected[]): Promise<void> {
    this.#producer ??= openProducer({ brokers: this.#brokers });
    try {
      const producer = await this.#producer;
      await producer.send(
        deadLetterTopic(topic),
        rejected.map((reject) => letter(topic, reject)),
      );
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.then((open) => open.close()).catch(() => undefined);
  }
}

function letter(topic: string, { partition, offset, reject, key, value }: Rejected) {
  const headers = { reason: reject, topic, partition: String(partition), offset: String(offset) };
  return {
    key: `${topic}:${partition}:${offset}`,
    value,
    headers: key === null ? headers : { ...headers, "original-key": key },
  };
}
