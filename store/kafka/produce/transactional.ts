import { type GenericError, Producer, serializersFrom } from "../client/client.ts";
import { parseBrokers } from "../cluster/brokers.ts";
import { unreachable } from "../cluster/topics.ts";
import { writeRefused } from "./refusal.ts";

/** A record of a transaction. */
export interface TransactionRecord {
  readonly topic: string;
  readonly partition: number;
  readonly key: string | Buffer;
  readonly value?: string | Buffer;
  readonly headers?: Record<string, string>;
}

/** Asks for the next producer id and epoch (KIP-360). The client's own values, 0 and 0, belong to another producer. */
export const NEW_PRODUCER = { producerId: -1n, producerEpoch: -1 };

/**
 * Returns Kafka's client for one transactional id (KIP-98). It registers with its first transaction, and keeps its
 * epoch after that.
 */
export const transactionalClient = (brokers: string, clientId: string, transactionalId: string) =>
  new Producer({
    clientId,
    bootstrapBrokers: parseBrokers(brokers),
    transactionalId,
    idempotent: true,
    acks: -1,
    serializers: serializersFrom((text?: string | Buffer) => (typeof text === "string" ? Buffer.from(text) : text)),
    // The transaction of a killed producer is being aborted, or the coordinator is loading. Both take a moment.
    retries: 40,
    retryDelay: 250,
  });

export type TransactionalClient = ReturnType<typeof transactionalClient>;
export type Transaction = Awaited<ReturnType<TransactionalClient["beginTransaction"]>>;

/** What to do when Kafka does not accept a record of a transaction. */
export const REFUSED_HINT = "See what the topic allows (max.message.bytes), and what the ACLs allow this client.";

/** Whether an error of Kafka means that another producer has taken over the transactional id. */
export function isFenced(error: unknown): boolean {
  const { findBy } = error as Partial<GenericError>;
  return ["PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"].some((id) => findBy?.call(error, "apiId", id));
}

/**
 * The only producer of a transactional id. Opening it ends the producer that had the id before: Kafka aborts its open
 * transaction, and accepts nothing more from it. After a failure nothing more can be sent. Close it then and open
 * another one, which finds out what was committed.
 */
export class TransactionalProducer {
  readonly #brokers: string;
  readonly #client: TransactionalClient;
  #next: Transaction | null;
  #failure: unknown = null;

  private constructor(brokers: string, client: TransactionalClient, first: Transaction) {
    this.#brokers = brokers;
    this.#client = client;
    this.#next = first;
  }

  /** Opens the producer. Throws NOT_READY when Kafka does not answer. */
  static async open(brokers: string, clientId: string, transactionalId: string): Promise<TransactionalProducer> {
    const client = transactionalClient(brokers, clientId, transactionalId);
    try {
      return new TransactionalProducer(brokers, client, await client.beginTransaction(NEW_PRODUCER));
    } catch (error) {
      await client.close(true);
      throw unreachable(brokers, error);
    }
  }

  /**
   * Writes records in one transaction: readers of committed data see all of them or none. One call at a time. Throws an
   * error for which `isFenced` is true when another producer has the id; WRITE_REFUSED when Kafka does not accept a
   * record, and then nothing was written; NOT_READY when Kafka does not answer, and then it is not known whether the
   * records were written.
   */
  async commit(records: readonly TransactionRecord[]): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    try {
      const transaction = this.#next ?? (await this.#client.beginTransaction());
      this.#next = null;
      await transaction.send({ messages: records.map((record) => ({ ...record })) });
      await transaction.commit();
    } catch (error) {
      this.#failure = isFenced(error) ? error : this.#explain(records, error);
      throw this.#failure;
    }
  }

  #explain(records: readonly TransactionRecord[], cause: unknown): unknown {
    const topics = records.map(({ topic }) => topic);
    return writeRefused(topics, REFUSED_HINT, cause) ?? unreachable(this.#brokers, cause);
  }

  async close(): Promise<void> {
    // A transaction without records needs no end: Kafka does not know of it yet.
    await this.#client.close(true);
  }
}
