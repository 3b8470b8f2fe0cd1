import { isTidelineError } from "../../core/errors.ts";
import type { Rejected } from "../decode/decoder.ts";
import { deadLetterTopic } from "../kafka/cluster/topics.ts";
import { type EventProducer, type EventRecord, openProducer } from "../kafka/produce/producer.ts";
import { LETTER } from "./dead-letters.ts";

/**
 * Writes what does not decode to its stream's dead letters (invariant 12). A letter's key is its position, so that reading a span again writes
 * the same letters again; its value is the original bytes, unless they are more than the topic of the letters takes.
 */
export class DeadLetters {
  readonly #brokers: string;
  /** Calls share it. After a failure it sends nothing more. */
  #producer: Promise<EventProducer> | null = null;

  constructor(brokers: string) {
    this.#brokers = brokers;
  }

  /** Resolves when Kafka has them all; throws when it does not take them, and begins with a new producer the next time. */
  async send(topic: string, rejected: readonly Rejected[]): Promise<void> {
    this.#producer ??= openProducer({ brokers: this.#brokers });
    const producer = this.#producer;
    try {
      await sendWith(producer, topic, lettersOf(topic, rejected));
    } catch (error) {
      // Others may have begun with a new one.
      if (this.#producer === producer) this.#producer = null;
      await closeProducer(producer);
      if (!isTidelineError(error, "WRITE_REFUSED")) throw error;
      await this.#sendApart(topic, rejected);
    }
  }

  /**
   * Looks for the letters that Kafka refuses, and sends those without their bytes: a record is refused, its stream does not stop. Each try has a producer
   * of its own: on a shared one the letter of another call may be what was refused.
   */
  async #sendApart(topic: string, rejected: readonly Rejected[]): Promise<void> {
    const refusal = await this.#sendAlone(topic, lettersOf(topic, rejected));
    const [first] = rejected;
    if (refusal === null || first === undefined) return;
    if (rejected.length > 1) {
      const middle = Math.ceil(rejected.length / 2);
      await this.#sendApart(topic, rejected.slice(0, middle));
      await this.#sendApart(topic, rejected.slice(middle));
      return;
    }
    const refusedBare = await this.#sendAlone(topic, [bareLetter(topic, first)]);
    if (refusedBare !== null) throw refusedBare;
  }

  /** Sends letters with a new producer. Returns the error when Kafka refuses one of them, null when it has taken all; throws other errors. */
  async #sendAlone(topic: string, letters: readonly EventRecord[]): Promise<Error | null> {
    const producer = openProducer({ brokers: this.#brokers });
    try {
      await sendWith(producer, topic, letters);
      return null;
    } catch (error) {
      if (isTidelineError(error, "WRITE_REFUSED")) return error;
      throw error;
    } finally {
      await closeProducer(producer);
    }
  }

  async close(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    if (producer !== null) await closeProducer(producer);
  }
}

async function sendWith(producer: Promise<EventProducer>, topic: string, letters: readonly EventRecord[]) {
  await (await producer).send(deadLetterTopic(topic), letters);
}

async function closeProducer(producer: Promise<EventProducer>): Promise<void> {
  await producer.then((open) => open.close()).catch(() => undefined);
}

function lettersOf(topic: string, rejected: readonly Rejected[]): EventRecord[] {
  return rejected.map((one) => letter(topic, one));
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
