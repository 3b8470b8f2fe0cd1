import { AlertStates } from "../core/alerts/alert-states.ts";
import { eventOf, type OpenMessage } from "../core/alerts/own-journal.ts";
import { alerts } from "../core/contract/alerts.ts";
import { AlertFeed } from "../store/alerts/alert-feed.ts";
import { topicName } from "../store/kafka/cluster/topics.ts";
import { type EventProducer, openProducer } from "../store/kafka/produce/producer.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { within } from "../store/time-limit.ts";

const NO_STATES = new AlertStates(0);
/** The longest time of a write, in milliseconds. The journal keeps what could not be written. */
const WRITE = { silenceMs: 5_000, deliveryMs: 10_000 } as const;
const READ_WAIT_MS = 50;
/** The longest time of a read, so that slow silences and acknowledgements do not delay a message. */
const READ_LIMIT_MS = 3_000;

/** The stream of alerts for a watcher: it appends own alerts, and reads silences and acknowledgements. */
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

  /** The states at the last read of the stream. */
  get states(): AlertStates {
    return this.#states;
  }

  /** Reads the new events of the stream. Throws errors of Kafka. */
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

  /** Writes the events of messages, in order. Throws errors of Kafka; some of the events may be written then. */
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
