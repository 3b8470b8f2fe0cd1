import { setTimeout as delay } from "node:timers/promises";
import { type AlertStates, type ShownAlert, shownAlert } from "../core/alerts/alert-states.ts";
import { alertOfRecord, type MessageKind, type OpenMessage, type Outcome } from "../core/alerts/own-journal.ts";
import type { Delivery } from "../core/definition/delivery.ts";
import { Attempts, type Pace } from "../deliveries/attempts.ts";
import { type MailSettings, Refused, type Sender } from "../deliveries/sender.ts";
import { senderOf } from "../deliveries/senders.ts";

export interface OutboxOptions {
  /** The brokers of topics that alerts go to. */
  readonly brokers: string;
  readonly mail: MailSettings;
  readonly pace: Pace;
  /** The wait before a message that was not taken is tried again. */
  readonly againMs: number;
  /** The silenced rules and the acknowledged alerts, as far as they are known. */
  readonly states: () => AlertStates;
  /** Called with the outcome of a message. `reason` says why it failed. */
  readonly onOutcome: (message: OpenMessage, outcome: Outcome, reason: string | null) => void;
  /** Called when a message was not taken and will be tried again. */
  readonly onDelayed: (message: OpenMessage, reason: string) => void;
}

/** How long a message is tried before it is given up: one day. */
const GIVE_UP_MS = 86_400_000;

/**
 * Hands over the messages of own alerts by one delivery, one after the other. A message that was not taken is tried
 * again for a day. A message that was refused is given up at once.
 */
export class Outbox {
  readonly #delivery: Delivery;
  readonly #options: OutboxOptions;
  readonly #attempts: Attempts;
  readonly #signal: AbortSignal;
  readonly #queue: OpenMessage[] = [];
  /** The names of the messages in the queue and of the one under way. */
  readonly #held = new Set<string>();
  /** Ids of the alerts that were left out. Their end is not sent either. */
  readonly #leftOut = new Set<string>();
  #running: Promise<void> | null = null;
  #isRefused = false;

  constructor(delivery: Delivery, options: OutboxOptions, signal: AbortSignal) {
    this.#delivery = delivery;
    this.#options = options;
    this.#signal = signal;
    const { brokers, mail, pace } = options;
    const send = senderOf(delivery.to, { delivery: delivery.name, mail, brokers, nowMs: Date.now });
    const noticing: Sender = async (sent, stop) => {
      this.#isRefused = false;
      await send(sent, stop).catch((error: unknown) => {
        this.#isRefused = error instanceof Refused;
        throw error;
      });
    };
    this.#attempts = new Attempts(Object.assign(noticing, send.close === undefined ? {} : { close: send.close }), pace);
  }

  get delivery(): string {
    return this.#delivery.name;
  }

  /**
   * Adds waiting messages to the queue. Skips those that are already in it, and those of an escalation whose time has
   * not come.
   */
  give(messages: readonly OpenMessage[], nowMs: number): void {
    for (const message of messages) {
      if (nowMs < message.alert.opened.atMs + this.#delivery.delayMs) continue;
      const name = nameOf(message);
      if (this.#held.has(name)) continue;
      this.#held.add(name);
      this.#queue.push(message);
    }
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  /** Resolves when nothing is under way any more. Abort the signal before you call it. */
  async ended(): Promise<void> {
    await this.#running;
    await this.#attempts.close();
  }

  async #run(): Promise<void> {
    for (let next = this.#queue.shift(); next !== undefined && !this.#signal.aborted; next = this.#queue.shift()) {
      try {
        await this.#handOver(next);
      } catch (error) {
        // The message still waits in the journal, and is given again.
        if (!this.#signal.aborted) this.#options.onDelayed(next, (error as Error).message);
      }
      this.#held.delete(nameOf(next));
    }
  }

  /**
   * Whether a message is not sent. An escalation is not sent for an alert that was over before its time came. The end
   * of an alert is not sent if its opening was left out.
   */
  #isLeftOut({ alert: { id, opened, cleared }, kind }: OpenMessage): boolean {
    const { name, delayMs } = this.#delivery;
    if (kind === "cleared") return this.#leftOut.has(id) || opened.deliveries[name] === "silenced";
    return delayMs > 0 && cleared !== null && cleared.atMs <= opened.atMs + delayMs;
  }

  async #handOver(message: OpenMessage): Promise<void> {
    const { onOutcome, onDelayed, againMs } = this.#options;
    const beganMs = Date.now();
    let shown = this.#shown(message);
    const messageNow = () => {
      shown = this.#shown(message);
      return shown;
    };
    while (shown !== null) {
      const reason = await this.#attempts.deliver(messageNow, this.#signal);
      if (shown === null) break;
      if (reason === null) return onOutcome(message, "delivered", null);
      if (this.#isRefused || Date.now() - beganMs > GIVE_UP_MS) return onOutcome(message, "failed", reason);
      onDelayed(message, reason);
      await delay(againMs, undefined, { signal: this.#signal });
    }
    this.#leftOut.add(message.alert.id);
    onOutcome(message, "silenced", null);
  }

  /** Returns the alert as a message shows it now. Null when it is left out. */
  #shown(message: OpenMessage): ShownAlert | null {
    const known = this.#options.states();
    const alert = { ...withoutEnd(message), acknowledged: known.acknowledgementOf(message.alert.id) };
    const nowMs = Date.now();
    // The end of an alert is sent even if the alert was acknowledged.
    const state = known.stateOf(message.kind === "opened" ? alert : { ...alert, acknowledged: null }, nowMs);
    const isLeftOut = state === "silenced" || state === "acknowledged" || this.#isLeftOut(message);
    return isLeftOut ? null : shownAlert(known, alert, nowMs);
  }
}

/** Returns the alert as it was when the message was made. The message about its opening does not contain its end. */
function withoutEnd({ alert, kind }: { readonly alert: OpenMessage["alert"]; readonly kind: MessageKind }) {
  return alertOfRecord(kind === "opened" ? { ...alert, cleared: null } : alert);
}

function nameOf({ alert: { id }, kind }: OpenMessage): string {
  return `${id}/${kind}`;
}
