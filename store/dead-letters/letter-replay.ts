import { TidelineError } from "../../core/errors.ts";
import { deadLetterTopic, unreachable } from "../kafka/cluster/topics.ts";
import { partitionOf } from "../kafka/produce/partitioner.ts";
import { writeRefused } from "../kafka/produce/refusal.ts";
import {
  isFenced,
  NEW_PRODUCER,
  REFUSED_HINT,
  type Transaction,
  type TransactionalClient,
  transactionalClient,
} from "../kafka/produce/transactional.ts";
import { LETTER } from "./dead-letters.ts";

/** A dead letter to send as a new record of the stream. */
export interface Outgoing {
  /** The id of the dead letter. */
  readonly id: string;
  readonly key: string | Buffer;
  readonly value: Buffer;
}

export interface Replayed {
  readonly id: string;
  readonly partition: number;
  readonly offset: bigint;
}

/** The topic of a stream, and the stream's name in this installation (`topicName`). */
export interface ReplayTarget {
  readonly name: string;
  readonly topic: string;
}

/**
 * Sends dead letters as new records, each at most once, whatever crashes (KIP-98): a record and the note that it was
 * replayed are written in one transaction. All replays of a topic share one transactional id. So opening a replay ends
 * any earlier one that is under way or was killed, and dead letters that are read afterwards show all earlier replays.
 */
export class LetterReplay {
  readonly #brokers: string;
  readonly #target: ReplayTarget;
  readonly #client: TransactionalClient;
  readonly #partitions: number;
  #transaction: Transaction;

  private constructor(
    { brokers, target }: { brokers: string; target: ReplayTarget },
    client: TransactionalClient,
    partitions: number,
    transaction: Transaction,
  ) {
    this.#brokers = brokers;
    this.#target = target;
    this.#client = client;
    this.#partitions = partitions;
    this.#transaction = transaction;
  }

  /** Throws NOT_READY when Kafka does not answer. */
  static async open(brokers: string, target: ReplayTarget): Promise<LetterReplay> {
    const { name, topic } = target;
    const client = transactionalClient(brokers, "tideline-replay", `tideline-replay-${name}`);
    try {
      const transaction = await client.beginTransaction(NEW_PRODUCER);
      const { topics } = await client.metadata({ topics: [topic] });
      return new LetterReplay({ brokers, target }, client, topics.get(topic)?.partitionsCount ?? 0, transaction);
    } catch (error) {
      await client.close(true);
      throw unreachable(brokers, error);
    }
  }

  /**
   * Sends dead letters in one transaction, to the partitions of their keys. Throws WRITE_REFUSED when another replay of
   * this topic has begun since, NOT_READY when Kafka does not accept them. Then none of them was sent.
   */
  async send(letters: readonly Outgoing[]): Promise<Replayed[]> {
    if (letters.length === 0) return [];
    try {
      if (this.#transaction.completed) this.#transaction = await this.#client.beginTransaction(NEW_PRODUCER);
      const replayed = await this.#sendRecords(letters);
      await this.#transaction.send({ messages: replayed.map((one) => this.#note(one)) });
      await this.#transaction.commit();
      return replayed;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  async close(): Promise<void> {
    // A transaction without records needs no end: Kafka does not know of it yet.
    await this.#client.close(true);
  }

  async #sendRecords(letters: readonly Outgoing[]): Promise<Replayed[]> {
    const { topic } = this.#target;
    const messages = letters.map(({ id, key, value }) => {
      const partition = partitionOf(key, this.#partitions);
      return { topic, key, value, partition, headers: { [LETTER.replayOf]: id } };
    });
    const { offsets = [] } = await this.#transaction.send({ messages });
    // Each partition gets one batch in the order of the messages, and Kafka returns its first offset.
    const next = new Map(offsets.map(({ partition, offset }) => [Number(partition), offset]));
    return messages.map(({ partition, headers }) => {
      const offset = next.get(partition) ?? -1n;
      next.set(partition, offset + 1n);
      return { id: headers[LETTER.replayOf] ?? "", partition, offset };
    });
  }

  #note({ id, partition, offset }: Replayed) {
    const headers = { [LETTER.kind]: "replay", [LETTER.replayedTo]: `${partition}:${offset}` };
    return { topic: deadLetterTopic(this.#target.name), key: id, partition: 0, headers };
  }

  #explain(cause: unknown): unknown {
    if (!isFenced(cause))
      return writeRefused([this.#target.topic], REFUSED_HINT, cause) ?? unreachable(this.#brokers, cause);
    const message = `another replay of ${this.#target.topic} was begun, and ended this one`;
    const hint = "see `tideline dead-letters list` for what is still to be replayed, and start again";
    return new TidelineError("WRITE_REFUSED", message, hint, { cause });
  }
}
