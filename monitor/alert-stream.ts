import { AlertStates } from "../core/alerts/alert-states.ts";
import { eventOf, type OpenMessage } from "../core/alerts/own-journal.ts";
import { alerts } from "../core/contract/alerts.ts";
import { AlertFeed } from "../store/alerts/alert-feed.ts";
import { topicName } from "../store/kafka/cluster/topics.ts";
import { type EventProducer, openProducer } from "../store/kafka/produce/producer.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { within } from "../store/time-limit.ts";

const NO_STATES = new AlertStates(0);
/** How long a write may take: the journal holds what could not be written. */
const WRITE = { silenceMs: 5_000, deliveryMs: 10_000 } as const;
const READ_WAIT_MS = 50;
/** Nobody is told later because it takes long to find out who silenced what. */
const READ_LIMIT_MS = 3_000;

/** The stream of alerts as a watcher uses it: it appends own alerts, and reads who silenced or acknowledged what. */
export class AlertStream {
  readonly #brokers: string;
  readonly #namespace: string;
  #producer: EventProducer | null = null;
  #reading: { readonly log: LogReader; readonly feed: AlertFeed } | null = null;
  #states: AlertStates = NO_STATES;

  constructor(brokers: string, namespace: string) {
    this.#brokers = brokers;
    this.#namespace = namespace;
  }

  /** As the stream was when it was last read. */
  get states(): AlertStates {
    return this.#states;
  }

  /** Reads what is new in the stream. Throws what Kafka says. */
  async read(): Promise<void> {
    try {
      this.#reading ??= await within(READ_LIMIT_MS, () => this.#open());
      const { feed } = this.#reading;
      await within(READ_LIMIT_MS, () => feed.next(READ_WAIT_MS));
      this.#states = feed.states;
    } catch (error) {
      await this.#stopReading();
      throw error;
    }
  }

  /** Writes the events of messages, in their order. Throws what Kafka says; then some of them may be written. */
  async append(messages: readonly OpenMessage[]): Promise<void> {
    try {
      this.#producer ??= await openProducer({ brokers: this.#brokers, ...WRITE });
      const events = messages.map(eventOf);
      const records = events.map((event) => ({ key: event.subject, value: Buffer.from(JSON.stringify(event)) }));
      await this.#producer.send(topicName(this.#namespace, alerts.name), records);
    } catch (error) {
      await this.#stopWriting();
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#stopReading(), this.#stopWriting()]);
  }

  async #open(): Promise<{ log: LogReader; feed: AlertFeed }> {
    const log = new LogReader({ brokers: this.#brokers, clientId: "tideline-monitor-alerts" });
    try {
      return { log, feed: await AlertFeed.open(log, this.#namespace) };
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  async #stopReading(): Promise<void> {
    const reading = this.#reading;
    this.#reading = null;
    await reading?.log.close();
  }

  async #stopWriting(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.close().catch(() => undefined);
  }
}
