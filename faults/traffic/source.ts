import { Kafka, logLevel, Partitioners, type Producer } from "kafkajs";
import { patiently } from "../../test/fixtures/servers/patiently.ts";
import { Chance } from "./chance.ts";
import { Events, type RawRecord } from "./events.ts";

const TICK_MS = 50;
/** Event time begins here and runs sixty times as fast as the clock, so that a short run fills many buckets. */
const BEGIN_MS = Date.UTC(2026, 0, 5, 8);
const SPEED = 60;
const BURST = 500;
/** Events of a transaction in the steady flow. */
const TRANSACTION = 20;

export interface SourceOptions {
  readonly brokers: string;
  readonly topic: string;
  readonly seed: number;
  /** Events a second, on average. */
  readonly rate: number;
}

/** A transaction that waits for its end. */
interface OpenTransaction {
  commit(): Promise<void>;
  abort(): Promise<void>;
}

/** Where a record was acknowledged. */
export interface Acknowledged {
  readonly partition: number;
  readonly offset: bigint;
}

/**
 * Produces events all the time with kafkajs: evenly, with bursts and silences, a part of them in transactions of which
 * some are aborted. What the broker does not take while it is down is not sent again: the log alone says what there is.
 */
export class Source {
  readonly #options: SourceOptions;
  readonly #events: Events;
  readonly #chance: Chance;
  readonly #sinceMs = performance.now();
  #plain: Producer | null = null;
  #transactional: Producer | null = null;
  /** Of transactions that are open. */
  readonly #waiting = new Set<Producer>();
  #paused = false;
  #closed = false;
  #sent = 0;
  #aborted = 0;
  #lastAcknowledged: Acknowledged | null = null;
  readonly #done: Promise<void>;

  constructor(options: SourceOptions) {
    this.#options = options;
    this.#events = new Events(options.seed);
    this.#chance = new Chance(options.seed, 2);
    this.#done = this.#run();
  }

  /** Event time as of now. */
  get nowMs(): number {
    return BEGIN_MS + Math.floor((performance.now() - this.#sinceMs) * SPEED);
  }

  /** The earliest event time that a record may have: late events lie two hours back. */
  get beginMs(): number {
    return BEGIN_MS - 3 * 3_600_000;
  }

  /** Records that Kafka took; those of aborted transactions too. */
  get sent(): number {
    return this.#sent;
  }

  get aborted(): number {
    return this.#aborted;
  }

  /** The last record that was acknowledged outside of a transaction. A question with its position must count it. */
  get lastAcknowledged(): Acknowledged | null {
    return this.#lastAcknowledged;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  /** Sends a number of events at once, in addition to the steady flow. */
  async burst(events: number): Promise<void> {
    for (let left = events; left > 0; left -= BURST) {
      const records = this.#records(Math.min(left, BURST));
      // A broker that has just been started may not lead its partitions yet. What is sent twice counts once.
      await patiently(() => this.#send(records));
    }
  }

  /** Sends events in one transaction and ends it. */
  async transaction(events: number, end: "commit" | "abort"): Promise<void> {
    const transaction = await this.openTransaction(events);
    await transaction[end]();
  }

  /** Sends events in a transaction that is left open; until it ends nothing behind it can be read. */
  async openTransaction(events: number): Promise<OpenTransaction> {
    const producer = await this.#open(`${this.#options.topic}-open`);
    this.#waiting.add(producer);
    const transaction = await this.#begin(producer, events);
    const closing = (end: () => Promise<void>) => () =>
      end().finally(() => {
        this.#waiting.delete(producer);
        return producer.disconnect();
      });
    return { commit: closing(transaction.commit), abort: closing(transaction.abort) };
  }

  async #begin(producer: Producer, events: number): Promise<OpenTransaction> {
    const transaction = await patiently(() => producer.transaction());
    await transaction.send(this.#request(this.#records(events)));
    const end = async (how: "commit" | "abort") => {
      await transaction[how]();
      this.#sent += events;
      if (how === "abort") this.#aborted += events;
    };
    return { commit: () => end("commit"), abort: () => end("abort") };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#done;
    await Promise.all(
      [this.#plain, this.#transactional, ...this.#waiting].map((producer) =>
        producer?.disconnect().catch(() => undefined),
      ),
    );
  }

  async #run(): Promise<void> {
    let owed = 0;
    let lastMs = performance.now();
    let silentUntilMs = 0;
    while (!this.#closed) {
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      const atMs = performance.now();
      owed = Math.min(owed + ((atMs - lastMs) / 1_000) * this.#options.rate, this.#options.rate);
      lastMs = atMs;
      if (this.#chance.happens(0.004)) silentUntilMs = atMs + 1_500;
      if (this.#paused || atMs < silentUntilMs) {
        owed = 0;
        continue;
      }
      const events = Math.floor(owed);
      owed -= events;
      try {
        if (this.#chance.happens(0.05)) await this.#steadyTransaction();
        else if (this.#chance.happens(0.005)) await this.burst(1_500);
        else if (events > 0) await this.#send(this.#records(events));
      } catch {
        // The broker is away, or the transaction was fenced: begin with new producers.
        await this.#drop();
      }
    }
  }

  async #steadyTransaction(): Promise<void> {
    this.#transactional ??= await this.#open(`${this.#options.topic}-steady`);
    const transaction = await this.#begin(this.#transactional, TRANSACTION);
    await (this.#chance.happens(0.5) ? transaction.abort() : transaction.commit());
  }

  #records(events: number): RawRecord[] {
    return Array.from({ length: events }, () => this.#events.next(this.nowMs)).flat();
  }

  #request(records: readonly RawRecord[]) {
    return {
      topic: this.#options.topic,
      acks: -1,
      timeout: 5_000,
      messages: records.map(({ key, value }) => ({ key, value })),
    };
  }

  async #send(records: readonly RawRecord[]): Promise<void> {
    this.#plain ??= await this.#open(null);
    const answers = await this.#plain.send(this.#request(records));
    this.#sent += records.length;
    const [first] = answers;
    if (first?.baseOffset !== undefined)
      this.#lastAcknowledged = { partition: first.partition, offset: BigInt(first.baseOffset) };
  }

  async #open(transactionalId: string | null): Promise<Producer> {
    const { brokers } = this.#options;
    const kafka = new Kafka({
      clientId: "source",
      brokers: brokers.split(","),
      logLevel: logLevel.NOTHING,
      connectionTimeout: 1_000,
      requestTimeout: 6_000,
      retry: { retries: 0 },
    });
    const producer = kafka.producer({
      createPartitioner: Partitioners.DefaultPartitioner,
      metadataMaxAge: 2_000,
      // With the same id as before, what the former one left open is aborted.
      ...(transactionalId === null
        ? {}
        : {
            transactionalId,
            maxInFlightRequests: 1,
            idempotent: true,
            transactionTimeout: 10_000,
            retry: { retries: 5 },
          }),
    });
    await producer.connect();
    return producer;
  }

  async #drop(): Promise<void> {
    const dropped = [this.#plain, this.#transactional];
    this.#plain = null;
    this.#transactional = null;
    await Promise.all(dropped.map((producer) => producer?.disconnect().catch(() => undefined)));
  }
}
