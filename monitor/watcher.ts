import { randomUUID } from "node:crypto";
import { NOTHING_SEEN, type Watch, watched } from "../core/alerts/own-alerts.ts";
import {
  appended,
  handedOver,
  journalled,
  notAppended,
  type OpenMessage,
  type Outcome,
  type OwnJournal,
  openKeys,
  waitingFor,
} from "../core/alerts/own-journal.ts";
import { alerts } from "../core/contract/alerts.ts";
import type { Delivery } from "../core/definition/delivery.ts";
import type { OwnAlertJournal } from "../store/alerts/own-alert-journal.ts";
import { DataDirectory } from "../store/files/files.ts";
import { pause } from "../store/pause.ts";
import { AlertStream } from "./alert-stream.ts";
import { HealthChecks } from "./health-checks.ts";
import type { MonitorMetrics } from "./metrics.ts";
import type { MonitorOptions, MonitorPace } from "./options.ts";
import { Outbox } from "./outbox.ts";

export interface WatcherOptions extends MonitorOptions {
  readonly pace: MonitorPace;
  readonly journal: OwnAlertJournal;
  readonly metrics: MonitorMetrics;
  readonly deliveries: readonly Delivery[];
}

/** The one process that watches, for as long as it owns the journal. */
export class Watcher {
  readonly #options: WatcherOptions;
  readonly #checks: HealthChecks;
  readonly #stream: AlertStream;
  readonly #outboxes: readonly Outbox[];
  readonly #ending = new AbortController();
  #number: number;
  #journal: OwnJournal;
  #watch: Watch = NOTHING_SEEN;
  /** Whether writing the journal failed, so that the one on the disk is older than the one in memory. */
  #isUnwritten = false;
  /** The last write. Each write waits for the one before. */
  #writing: Promise<void> = Promise.resolve();
  #isAppending = false;

  private constructor(options: WatcherOptions, number: number, journal: OwnJournal) {
    const { brokers, namespace, dataDir, mail, pace, deliveries } = options;
    this.#options = options;
    this.#number = number;
    this.#journal = journal;
    this.#checks = new HealthChecks({ ...options, positionsMs: pace.positionsMs, data: new DataDirectory(dataDir) });
    this.#stream = new AlertStream(brokers, namespace);
    const outbox = {
      ...{ brokers, mail, pace: pace.delivery, againMs: pace.againMs },
      states: () => this.#stream.states,
    };
    this.#outboxes = deliveries.map((one) => {
      const callbacks = {
        onOutcome: (message: OpenMessage, outcome: Outcome, reason: string | null) =>
          this.#handedOver(one.name, message, outcome, reason),
        onDelayed: (message: OpenMessage, reason: string) =>
          options.logger.warn({ ...told(message), delivery: one.name, reason }, "own alert not delivered yet"),
      };
      return new Outbox(one, { ...outbox, ...callbacks }, this.#ending.signal);
    });
  }

  /** Takes the journal over after version `number`. Returns null when another process was first. */
  static async begin(options: WatcherOptions, number: number): Promise<Watcher | null> {
    const { journal, name } = options;
    const found = await journal.read();
    if (found.number !== number) return null;
    const taken = { ...found.journal, holder: `${name}-${randomUUID()}` };
    return (await journal.write(number, taken)) ? new Watcher(options, number + 1, taken) : null;
  }

  /** Open alerts by severity. */
  openBySeverity(): Map<string, number> {
    const open = this.#journal.alerts.filter(({ cleared }) => cleared === null);
    return open.reduce((found, { severity }) => found.set(severity, (found.get(severity) ?? 0) + 1), new Map());
  }

  /** Checks the installation repeatedly, until `signal` is aborted or another process owns the journal. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#ending.signal]);
    while (!stop.aborted) {
      await this.#step();
      await pause(this.#options.pace.everyMs, { signal: stop, ref: false });
    }
  }

  /** Releases the journal if this process still owns it, so that another process may watch at once. */
  async close(): Promise<void> {
    const isOwn = !this.#ending.signal.aborted;
    this.#ending.abort();
    await Promise.all(this.#outboxes.map((outbox) => outbox.ended()));
    await this.#writing;
    if (isOwn) await this.#options.journal.write(this.#number, { ...this.#journal, holder: null }).catch(() => false);
    await Promise.all([this.#checks.close(), this.#stream.close()]);
  }

  async #step(): Promise<void> {
    const { journal, pace, deliveries, definitions } = this.#options;
    if (!this.#isUnwritten && !(await journal.beat(this.#number))) return this.#ending.abort();
    const found = await this.#checks.run(Date.now());
    const nowMs = Date.now();
    const { watch, opened, cleared } = watched(this.#watch, openKeys(this.#journal), found, {
      nowMs,
      patienceMs: pace.patienceMs,
    });
    this.#watch = watch;
    if (opened.length + cleared.length > 0) {
      for (const { problem } of opened) this.#options.logger.error({ ...problem }, "alert: something is wrong");
      for (const key of cleared) this.#options.logger.info({ key }, "alert is over");
      this.#journal = journalled(this.#journal, { opened, cleared }, deliveries, nowMs);
      // Write before anything is handed over, so that the next process knows the messages.
      await this.#write();
    } else if (this.#isUnwritten) await this.#write();
    if (found.isKafkaThere && definitions.streams.has(alerts.name)) await this.#useStream();
    for (const outbox of this.#outboxes) outbox.give(waitingFor(this.#journal, outbox.delivery), nowMs);
  }

  /** Reads silences while messages wait, and appends the messages that are not in the stream yet. */
  async #useStream(): Promise<void> {
    const messages = notAppended(this.#journal);
    const waits = this.#outboxes.some(({ delivery }) => waitingFor(this.#journal, delivery).length > 0);
    if (messages.length === 0 && !waits) return;
    const cannot = (error: unknown) =>
      this.#options.logger.warn({ error: (error as Error).message }, "cannot use the stream of alerts");
    if (waits) await this.#stream.read().catch(cannot);
    if (messages.length > 0 && !this.#isAppending) void this.#append(messages).catch(cannot);
  }

  /** Appends messages to the stream. Checks do not wait for it, because Kafka may be slow. */
  async #append(messages: readonly OpenMessage[]): Promise<void> {
    this.#isAppending = true;
    try {
      await this.#stream.append(messages);
      this.#journal = appended(this.#journal, messages);
      await this.#write();
    } finally {
      this.#isAppending = false;
    }
  }

  #handedOver(delivery: string, message: OpenMessage, outcome: Outcome, reason: string | null): void {
    const { metrics, logger } = this.#options;
    metrics.messages.inc({ delivery, outcome });
    if (outcome === "failed") logger.error({ ...told(message), delivery, reason }, "own alert not delivered");
    this.#journal = handedOver(this.#journal, message, delivery, outcome);
    void this.#write();
  }

  /** Writes the journal. If the disk is full, messages are still sent, and the journal is written at a later check. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      if (this.#ending.signal.aborted) return;
      const { journal, logger } = this.#options;
      try {
        if (await journal.write(this.#number, this.#journal)) this.#number += 1;
        else this.#ending.abort();
        this.#isUnwritten = false;
      } catch (error) {
        this.#isUnwritten = true;
        logger.error({ error: (error as Error).message }, "the journal of own alerts cannot be written");
      }
    });
    return this.#writing;
  }
}

function told({ alert: { id, key }, kind }: OpenMessage) {
  return { alert: id, key, message: kind };
}
