import type { FastifyReply } from "fastify";
import { type Alert, type AlertStates, shownAlert } from "../../core/alerts/alert-states.ts";
import type { SentAlerts } from "../../core/alerts/sent-alerts.ts";

/** A client with this many unsent alerts is disconnected. It comes back with Last-Event-ID. */
const MOST_WAITING = 1_000;

/**
 * An alert to send. `isInStream`: whether it is in the stream of alerts. Own alerts are first known from the journal.
 */
export interface Waiting {
  readonly alert: Alert;
  readonly isInStream: boolean;
}

/**
 * Sends alerts to one client, one after the other. Closes the connection when the client does not read fast enough. The
 * alerts that the client missed before it connected do not count for that.
 */
export class AlertSending {
  readonly #reply: FastifyReply;
  readonly #states: () => AlertStates;
  #waiting: Waiting[] = [];
  #stillMissed = 0;
  #sent: SentAlerts | null = null;
  #isSending = false;

  /** `states` returns the newest known states of the alerts, at the moment of sending. */
  constructor(reply: FastifyReply, states: () => AlertStates) {
    this.#reply = reply;
    this.#states = states;
  }

  /** Queues an alert behind those that wait. Before `begin` nothing is sent. */
  add(alert: Waiting): void {
    this.#waiting.push(alert);
    if (this.#waiting.length > MOST_WAITING + this.#stillMissed) this.#reply.sse.close();
    else this.#go();
  }

  /** Begins to send, first the alerts that the client has missed. `sent` knows what the client was sent before. */
  begin(sent: SentAlerts, missed: readonly Alert[]): void {
    this.#waiting.unshift(...missed.map((alert) => ({ alert, isInStream: true })));
    this.#stillMissed = missed.length;
    this.#sent = sent;
    this.#go();
  }

  #go(): void {
    if (this.#sent === null || this.#isSending) return;
    this.#sendAll(this.#sent).catch((error: unknown) => {
      this.#reply.log.debug({ err: error }, "alert stream ended");
      this.#reply.sse.close();
    });
  }

  /**
   * An event has an id if its alert was opened just now and is in the stream. A client that comes back continues after
   * the event with this id.
   */
  async #sendAll(sent: SentAlerts): Promise<void> {
    const { sse } = this.#reply;
    this.#isSending = true;
    for (let next = this.#waiting.shift(); next !== undefined && sse.isConnected; next = this.#waiting.shift()) {
      const { alert, isInStream } = next;
      const hasId = isInStream && alert.acknowledged === null && alert.clearedAtMs === undefined;
      if (hasId) sent.note(alert);
      const data = JSON.stringify(shownAlert(this.#states(), alert, Date.now()));
      await sse.send({ event: "alert", data, ...(hasId ? { id: sent.idOf(alert) } : {}) });
      this.#stillMissed = Math.max(0, this.#stillMissed - 1);
    }
    this.#isSending = false;
  }
}
