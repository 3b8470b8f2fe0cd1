import { isTidelineError } from "../core/errors.ts";
import { LETTER } from "./dead-letters.ts";
import type { Rejected } from "./decoder.ts";
import { type EventProducer, type EventRecord, openProducer } from "./producer.ts";
import { deadLetterTopic } from "./topics.ts";

/**
 * Writes what does not decode to its stream's dead letters (invariant 12). A letter's key is its position, so that reading a span again writes
 * the same letters again; its value is the original bytes, unless they are more than the topic of the letters takes.
 */
export class DeadLetters {
  readonly #brokers: string;
  #producer: Promise<EventProducer> | null = null;

  constructor(brokers: string) {
    this.#brokers = brokers;
  }

  /** Resolves when Kafka has them all; throws when it does not take them, and begins with a new producer the next time. */
  async send(topic: string, rejected: readonly Rejected[]): Promise<void> {
    try {
      await this.#send(
        topic,
        rejected.map((reject) => letter(topic, reject)),
      );
    } catch (error) {
      if (!isTidelineError(error, "WRITE_REFUSED")) throw error;
      await this.#sendApart(topic, rejected, error);
    }
  }

  /** Looks for the letters that Kafka refuses, and sends those without their bytes: a record is refused, its stream does not stop. */
  async #sendApart(topic: string, rejected: readonly Rejected[], refusal: unknown): Promise<void> {
    const [first] = rejected;
    if (first === undefined) throw refusal;
    if (rejected.length === 1) return this.#send(topic, [bareLetter(topic, first)]);
    const middle = Math.ceil(rejected.length / 2);
    await this.send(topic, rejected.slice(0, middle));
    await this.send(topic, rejected.slice(middle));
  }

  async #send(topic: string, letters: readonly EventRecord[]): Promise<void> {
    this.#producer ??= openProducer({ brokers: this.#brokers });
    try {
      const producer = await this.#producer;
      await producer.send(deadLetterTopic(topic), letters);
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

function letter(topic: string, rejected: Rejected): EventRecord {
  const { reject, key, value } = rejected;
  // What was not read has no bytes to keep.
  if (reject.startsWith("too-large")) return bareLetter(topic, { ...rejected, value: null });
  const { key: id, headers } = headersOf(topic, rejected);
  return { key: id, value, headers: key === null ? headers : { ...headers, [LETTER.originalKey]: key } };
}

/** A letter that says where the record lies, how many bytes it has, and why it was refused. */
function bareLetter(topic: string, rejected: Rejected): EventRecord {
  const { key, headers } = headersOf(topic, rejected);
  return { key, value: null, headers: { ...headers, [LETTER.originalBytes]: String(rejected.value?.length ?? "") } };
}

function headersOf(topic: string, { partition, offset, reject }: Rejected) {
  const headers: Record<string, string | Buffer> = {
    [LETTER.reason]: reject,
    topic,
    partition: String(partition),
    offset: String(offset),
  };
  return { key: `${topic}:${partition}:${offset}`, headers };
}
