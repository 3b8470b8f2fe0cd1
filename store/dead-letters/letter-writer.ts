import type { Stream } from "../../core/contract/stream.ts";
import { isTidelineError } from "../../core/errors.ts";
import type { Rejected } from "../decode/decoded-batch.ts";
import { deadLetterTopic, topicName } from "../kafka/cluster/topics.ts";
import { type EventProducer, type EventRecord, openProducer } from "../kafka/produce/producer.ts";
import { LETTER } from "./dead-letters.ts";

/** A stream and the topic that it is read from. */
export interface LetterSource {
  readonly stream: Pick<Stream, "name" | "topic">;
  readonly topic: string;
}

/** `name`: the stream's name in this installation (`topicName`). */
interface Source {
  readonly name: string;
  readonly topic: string;
}

/**
 * Writes records that do not decode to their stream's dead letters (invariant 12). A dead letter's key is the record's
 * position, so that reading a span again writes the same dead letters again. Its value is the original bytes, unless
 * there are too many for the topic of dead letters.
 */
export class DeadLetters {
  readonly #brokers: string;
  readonly #namespace: string;
  /** The producer, shared by all calls. After a failure it sends nothing more. */
  #producer: Promise<EventProducer> | null = null;

  constructor(brokers: string, namespace: string) {
    this.#brokers = brokers;
    this.#namespace = namespace;
  }

  /**
   * Resolves when Kafka has all dead letters. Throws when it does not accept them; the next call begins with a new
   * producer.
   */
  async send(target: LetterSource, rejected: readonly Rejected[]): Promise<void> {
    const { stream, topic } = target;
    const source = { topic, name: stream.topic === null ? topic : topicName(this.#namespace, stream.name) };
    this.#producer ??= openProducer({ brokers: this.#brokers });
    const producer = this.#producer;
    try {
      await sendWith(producer, source, lettersOf(source, rejected));
    } catch (error) {
      // Another call may have opened a new one already.
      if (this.#producer === producer) this.#producer = null;
      await closeProducer(producer);
      if (!isTidelineError(error, "WRITE_REFUSED")) throw error;
      await this.#sendApart(source, rejected);
    }
  }

  /**
   * Finds the dead letters that Kafka refuses, and sends these without their bytes, so that a refused record does not
   * stop its stream. Each try has a producer of its own: on a shared one the refused dead letter could be another
   * call's.
   */
  async #sendApart(source: Source, rejected: readonly Rejected[]): Promise<void> {
    const refusal = await this.#sendAlone(source, lettersOf(source, rejected));
    const [first] = rejected;
    if (refusal === null || first === undefined) return;
    if (rejected.length > 1) {
      const middle = Math.ceil(rejected.length / 2);
      await this.#sendApart(source, rejected.slice(0, middle));
      await this.#sendApart(source, rejected.slice(middle));
      return;
    }
    const refusedBare = await this.#sendAlone(source, [bareLetter(source, first)]);
    if (refusedBare !== null) throw refusedBare;
  }

  /**
   * Sends dead letters with a new producer. Returns the error when Kafka refuses one of them, null when it has accepted
   * all. Throws other errors.
   */
  async #sendAlone(source: Source, letters: readonly EventRecord[]): Promise<Error | null> {
    const producer = openProducer({ brokers: this.#brokers });
    try {
      await sendWith(producer, source, letters);
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

async function sendWith(producer: Promise<EventProducer>, { name }: Source, letters: readonly EventRecord[]) {
  await (await producer).send(deadLetterTopic(name), letters);
}

async function closeProducer(producer: Promise<EventProducer>): Promise<void> {
  await producer.then((open) => open.close()).catch(() => undefined);
}

function lettersOf(source: Source, rejected: readonly Rejected[]): EventRecord[] {
  return rejected.map((one) => letter(source, one));
}

function letter(source: Source, rejected: Rejected): EventRecord {
  const { reject, key, value } = rejected;
  // A record that was not read has no bytes to keep.
  if (reject.startsWith("too-large")) return bareLetter(source, { ...rejected, value: null });
  const { key: id, headers } = headersOf(source, rejected);
  return { key: id, value, headers: key === null ? headers : { ...headers, [LETTER.originalKey]: key } };
}

/**
 * Returns a dead letter with the position of the record, its number of bytes, and the reason of the refusal, but
 * without its bytes.
 */
function bareLetter(source: Source, rejected: Rejected): EventRecord {
  const { key, headers } = headersOf(source, rejected);
  return { key, value: null, headers: { ...headers, [LETTER.originalBytes]: String(rejected.value?.length ?? "") } };
}

function headersOf({ name, topic }: Source, { partition, offset, reject }: Rejected) {
  const headers: Record<string, string | Buffer> = {
    [LETTER.reason]: reject,
    topic,
    partition: String(partition),
    offset: String(offset),
  };
  return { key: `${name}:${partition}:${offset}`, headers };
}
