import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { type Alert, AlertStates } from "../../core/alerts/alert-states.ts";
import { isTidelineError } from "../../core/errors.ts";
import { AlertFeed } from "../../store/alerts/alert-feed.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Refusal } from "../common/problem.ts";

export interface ServedAlertsOptions {
  readonly brokers: string;
  readonly namespace: string;
  readonly logger: Logger;
  /** So many clients may follow the alerts at once. */
  readonly maxStreams: number;
}

/**
 * What a client that follows is told of: alerts that were opened or acknowledged, in the order of the log, and the
 * states of all.
 */
export type AlertListener = (alert: Alert, states: AlertStates) => void;

/** How long a fetch waits for the next alert. */
const WAIT_MS = 5_000;
const AGAIN_AFTER_MS = 1_000;
const NO_ALERTS = new AlertStates(0);

/** The newest alerts, as the log has them. Nothing is read before somebody asks. */
export class ServedAlerts {
  readonly #options: ServedAlertsOptions;
  readonly #stopping = new AbortController();
  readonly #listeners = new Map<AlertListener, () => void>();
  /** Listeners that came before there was a topic of alerts: every alert in it is new to them. */
  readonly #early = new Set<AlertListener>();
  #looking: Promise<void> = Promise.resolve();
  #open: Promise<AlertFeed | null> | null = null;
  #log: LogReader | null = null;
  #following: Promise<void> = Promise.resolve();

  constructor(options: ServedAlertsOptions) {
    this.#options = options;
  }

  /** All that are remembered, none where no rule has run. Throws what Kafka says when it cannot be read. */
  async states(): Promise<AlertStates> {
    return (await this.#feed())?.states ?? NO_ALERTS;
  }

  /**
   * Calls `onAlert` from now on, and `onEnd` when this server closes. Returns what ends it. Throws TOO_MANY_STREAMS.
   */
  async subscribe(onAlert: AlertListener, onEnd: () => void): Promise<() => void> {
    const { maxStreams } = this.#options;
    if (this.#stopping.signal.aborted || this.#listeners.size >= maxStreams)
      throw new Refusal(503, "TOO_MANY_STREAMS", `this server keeps ${maxStreams} streams of alerts, and has them`, {
        headers: { "retry-after": "5" },
      });
    const feed = await this.#feed();
    this.#listeners.set(onAlert, onEnd);
    if (feed === null) {
      this.#early.add(onAlert);
      if (this.#early.size === 1) this.#looking = this.#look();
    }
    return () => {
      this.#listeners.delete(onAlert);
      this.#early.delete(onAlert);
    };
  }

  /** Ends the streams; nothing new is followed. */
  endStreams(): void {
    this.#stopping.abort();
    for (const onEnd of this.#listeners.values()) onEnd();
    this.#listeners.clear();
  }

  async close(): Promise<void> {
    this.endStreams();
    await this.#looking;
    await this.#open?.catch(() => undefined);
    await this.#log?.close();
    await this.#following;
  }

  /** Asks for the topic of alerts again, as long as somebody waits for it. */
  async #look(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#early.size > 0 && !signal.aborted) {
      await delay(AGAIN_AFTER_MS, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted)
        await this.#feed().catch((err: unknown) => this.#options.logger.warn({ err }, "cannot read alerts"));
    }
  }

  /** Calls share it. Where it fails, or there are no alerts yet, the next call tries again. */
  #feed(): Promise<AlertFeed | null> {
    this.#open ??= this.#openFeed().then(
      (feed) => {
        if (feed === null) this.#open = null;
        return feed;
      },
      (error: unknown) => {
        this.#open = null;
        throw error;
      },
    );
    return this.#open;
  }

  async #openFeed(): Promise<AlertFeed | null> {
    const { brokers, namespace } = this.#options;
    const log = new LogReader({ brokers, clientId: "tideline-serve-alerts" });
    try {
      const feed = await AlertFeed.open(log, namespace);
      this.#log = log;
      for (const alert of feed.states.all()) for (const tell of this.#early) tell(alert, feed.states);
      this.#early.clear();
      this.#following = this.#follow(feed);
      return feed;
    } catch (error) {
      await log.close();
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
        await delay(AGAIN_AFTER_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }
}
