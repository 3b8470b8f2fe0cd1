import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { type Alert, AlertStates } from "../../core/alerts/alert-states.ts";
import { isTidelineError } from "../../core/errors.ts";
import type { Cut } from "../../core/log/position.ts";
import { AlertFeed } from "../../store/alerts/alert-feed.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { pause } from "../../store/pause.ts";
import { tooManyStreams } from "../common/refusals.ts";

export interface ServedAlertsOptions {
  readonly brokers: string;
  readonly namespace: string;
  readonly logger: Logger;
  /** The most clients that may follow the alerts at once. */
  readonly maxStreams: number;
}

/** Called for each alert that was opened or acknowledged, in the order of the log, with the states of all alerts. */
export type AlertListener = (alert: Alert, states: AlertStates) => void;

/** How long a fetch waits for the next alert. */
const WAIT_MS = 5_000;
const AGAIN_AFTER_MS = 1_000;
/** A client that asks for own alerts too waits at most this long for Kafka: own alerts come from the journal. */
const OWN_PATIENCE_MS = 2_000;
const NO_ALERTS = new AlertStates(0);
const NOTHING_READ: Cut = new Map();

/** The newest alerts of the log. Nothing is read before the first request. */
export class ServedAlerts {
  readonly #options: ServedAlertsOptions;
  readonly #stopping = new AbortController();
  readonly #listeners = new Map<AlertListener, () => void>();
  /**
   * Listeners that came before the alerts could be read. The value is the time from which on an alert is new to the
   * listener, in epoch milliseconds. It is -Infinity for a listener that came before the topic existed.
   */
  readonly #early = new Map<AlertListener, number>();
  #looking: Promise<void> = Promise.resolve();
  #open: Promise<AlertFeed | null> | null = null;
  /** The feed, once it is open; null before. */
  #opened: AlertFeed | null = null;
  /** Whether `#open` has just found that there is no topic. */
  #isMissing = false;
  /** One reader for all attempts: connecting costs more than asking. */
  readonly #log: LogReader;
  #following: Promise<void> = Promise.resolve();

  constructor(options: ServedAlertsOptions) {
    this.#options = options;
    this.#log = new LogReader({ brokers: options.brokers, clientId: "tideline-serve-alerts" });
  }

  /** Returns all remembered alerts; none if no rule has run. Throws Kafka's error when the alerts cannot be read. */
  async states(): Promise<AlertStates> {
    return (await this.#feed())?.states ?? NO_ALERTS;
  }

  /** As `states`; returns no alerts when Kafka does not answer in time. */
  async statesInTime(): Promise<AlertStates> {
    return (await this.#feedInTime())?.states ?? NO_ALERTS;
  }

  /** The positions up to which `states` has read the alerts; empty before they can be read. */
  get read(): Cut {
    return this.#opened?.read ?? NOTHING_READ;
  }

  /**
   * Calls `onAlert` for each new alert, and `onEnd` when this server closes. Returns a function that ends that. Throws
   * TOO_MANY_STREAMS. If the alerts cannot be read it throws Kafka's error; with `isPatient` it waits until they can be
   * read.
   */
  async subscribe(onAlert: AlertListener, onEnd: () => void, isPatient = false): Promise<() => void> {
    const { maxStreams } = this.#options;
    if (this.#stopping.signal.aborted || this.#listeners.size >= maxStreams)
      throw tooManyStreams(maxStreams, "streams of alerts");
    const nowMs = Date.now();
    // The topic may have been created since the last look.
    if (this.#isMissing) this.#lookAgain();
    const feed = await (isPatient ? this.#feedInTime() : this.#feed());
    this.#listeners.set(onAlert, onEnd);
    if (this.#opened === null) {
      this.#early.set(onAlert, feed === null ? Number.NEGATIVE_INFINITY : nowMs);
      if (this.#early.size === 1) this.#looking = this.#look();
    } else if (feed === undefined) tellSince(this.#opened, onAlert, nowMs);
    return () => {
      this.#listeners.delete(onAlert);
      this.#early.delete(onAlert);
    };
  }

  /** Ends all streams, and lets no new one in. */
  endStreams(): void {
    this.#stopping.abort();
    for (const onEnd of this.#listeners.values()) onEnd();
    this.#listeners.clear();
  }

  async close(): Promise<void> {
    this.endStreams();
    await this.#looking;
    await this.#open?.catch(() => undefined);
    await this.#log.close();
    await this.#following;
  }

  /** Asks for the topic of alerts again, as long as a listener waits for it. */
  async #look(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#early.size > 0 && !signal.aborted) {
      await pause(AGAIN_AFTER_MS, { signal });
      if (!signal.aborted)
        await this.#feed().catch((err: unknown) => this.#options.logger.warn({ err }, "cannot read alerts"));
    }
  }

  /** Returns the feed; null if there is no topic, undefined if Kafka does not answer in time. */
  #feedInTime(): Promise<AlertFeed | null | undefined> {
    const late = delay(OWN_PATIENCE_MS, undefined, { ref: false });
    return Promise.race([this.#feed().catch(() => undefined), late]);
  }

  /**
   * Concurrent calls share one attempt. After a failure the next call tries again. While there is no topic, the next
   * attempt is made a second later.
   */
  #feed(): Promise<AlertFeed | null> {
    if (this.#open !== null) return this.#open;
    const open = this.#openFeed();
    this.#open = open;
    const again = () => {
      if (this.#open === open) this.#lookAgain();
    };
    open.then((feed) => {
      if (feed !== null || this.#open !== open) return;
      this.#isMissing = true;
      setTimeout(again, AGAIN_AFTER_MS).unref();
    }, again);
    return open;
  }

  #lookAgain(): void {
    this.#open = null;
    this.#isMissing = false;
  }

  async #openFeed(): Promise<AlertFeed | null> {
    try {
      const feed = await AlertFeed.open(this.#log, this.#options.namespace);
      this.#opened = feed;
      for (const [tell, sinceMs] of this.#early) tellSince(feed, tell, sinceMs);
      this.#early.clear();
      this.#following = this.#follow(feed);
      return feed;
    } catch (error) {
      if (isTidelineError(error, "TOPIC_MISSING")) return null;
      throw error;
    }
  }

  async #follow(feed: AlertFeed): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        for (const alert of await feed.next(WAIT_MS))
          for (const tell of this.#listeners.keys()) tell(alert, feed.states);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.warn({ err: error }, "cannot read alerts");
        await pause(AGAIN_AFTER_MS, { signal });
      }
    }
  }
}

/** Calls `tell` for the alerts that were written at `sinceMs` (epoch milliseconds) or later. */
function tellSince({ states }: AlertFeed, tell: AlertListener, sinceMs: number): void {
  for (const alert of states.all()) if (alert.writtenAtMs >= sinceMs) tell(alert, states);
}
