import type { AlertState, ShownAlert } from "../definition/shown-alert.ts";
import { formatTime } from "../time.ts";
import type { AlertEvent } from "./alert.ts";

export type { AlertState, ShownAlert } from "../definition/shown-alert.ts";

/** An alert as it stands. */
export interface Alert {
  readonly id: string;
  /** The event that opened it. */
  readonly opened: AlertEvent;
  /** When it was written, by the log's clock, epoch milliseconds. */
  readonly writtenAtMs: number;
  /** Where in the stream of alerts it was opened; absent where the alert is not from there. */
  readonly place?: AlertPlace;
  readonly acknowledged: { readonly atMs: number; readonly author: string | null } | null;
  /** When the problem was over, epoch milliseconds. Only Tideline's own alerts have that. */
  readonly clearedAtMs?: number;
}

export interface AlertPlace {
  readonly partition: number;
  readonly offset: bigint;
}

/** An event of the stream of alerts, when it was written, and where. */
export interface WrittenAlertEvent {
  readonly event: AlertEvent;
  readonly writtenAtMs: number;
  readonly place?: AlertPlace;
}

type Acknowledgement = NonNullable<Alert["acknowledged"]>;

/**
 * The alerts of a log, the oldest first, and which rules are silenced. What is written twice counts once. It remembers
 * the newest `most` alerts, and the newest ten times as many acknowledgements, also those of alerts that it does not
 * remember: an escalation looks at alerts that are that old.
 */
export class AlertStates {
  readonly #most: number;
  readonly #alerts = new Map<string, Alert>();
  readonly #acknowledged = new Map<string, Acknowledgement>();
  /** Rule -> until when, epoch milliseconds. */
  readonly #silences = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes the next event. Returns the alert that it has opened or changed; null when it has changed none. */
  take(written: WrittenAlertEvent): Alert | null {
    const { event } = written;
    const { kind, subject } = event;
    if (kind === "silenced") {
      this.silence(subject, event.silent_until ?? 0);
      return null;
    }
    const held = this.#alerts.get(subject);
    if (kind === "opened") return held === undefined ? this.#open(written) : null;
    if (kind === "acknowledged") this.#acknowledge(subject, { atMs: event.at, author: event.author ?? null });
    if (held === undefined) return null;
    if (kind === "cleared")
      return held.clearedAtMs === undefined ? this.#set({ ...held, clearedAtMs: event.at }) : null;
    if (held.acknowledged !== null) return null;
    return this.#set({ ...held, acknowledged: { atMs: event.at, author: event.author ?? null } });
  }

  /** Silences a rule until `untilMs`, epoch milliseconds; 0 ends that. */
  silence(rule: string, untilMs: number): void {
    this.#silences.set(rule, untilMs);
  }

  get(id: string): Alert | undefined {
    return this.#alerts.get(id);
  }

  /** Who acknowledged an alert first, and when; null for nobody. Also of an alert that is not remembered any more. */
  acknowledgementOf(id: string): Acknowledgement | null {
    return this.#acknowledged.get(id) ?? null;
  }

  /** All that are remembered, in the order in which they were taken. */
  all(): Alert[] {
    return [...this.#alerts.values()];
  }

  /** Until when a rule is silenced, epoch milliseconds; null when it is not. */
  silencedUntil(rule: string, nowMs: number): number | null {
    const untilMs = this.#silences.get(rule) ?? 0;
    return untilMs > nowMs ? untilMs : null;
  }

  /** Cleared goes before acknowledged, and acknowledged before silenced. */
  stateOf({ acknowledged, clearedAtMs, opened }: Alert, nowMs: number): AlertState {
    if (clearedAtMs !== undefined) return "cleared";
    if (acknowledged !== null) return "acknowledged";
    return this.silencedUntil(opened.rule, nowMs) === null ? "open" : "silenced";
  }

  #set(alert: Alert): Alert {
    this.#alerts.set(alert.id, alert);
    return alert;
  }

  #open({ event: opened, ...written }: WrittenAlertEvent): Alert {
    const { subject: id } = opened;
    const alert = { id, opened, ...written, acknowledged: this.acknowledgementOf(id) };
    this.#alerts.set(id, alert);
    forgetOldest(this.#alerts, this.#most);
    return alert;
  }

  #acknowledge(id: string, acknowledgement: Acknowledgement): void {
    if (this.#acknowledged.has(id)) return;
    this.#acknowledged.set(id, acknowledgement);
    forgetOldest(this.#acknowledged, 10 * this.#most);
  }
}

function forgetOldest(held: Map<string, unknown>, most: number): void {
  for (const oldest of held.keys()) {
    if (held.size <= most) return;
    held.delete(oldest);
  }
}

/** An alert as answers show it at `nowMs`. */
export function shownAlert(states: AlertStates, alert: Alert, nowMs: number): ShownAlert {
  const { opened, acknowledged, clearedAtMs } = alert;
  const { quiet_from: from, quiet_ms: lengthMs, source_stream: stream } = opened;
  const untilMs = states.silencedUntil(opened.rule, nowMs);
  return {
    id: alert.id,
    rule: opened.rule,
    severity: opened.severity ?? null,
    state: states.stateOf(alert, nowMs),
    key: opened.key ?? null,
    says: opened.says ?? null,
    at: formatTime(opened.at),
    openedAt: formatTime(alert.writtenAtMs),
    quiet: from == null || lengthMs == null ? null : { from: formatTime(from), to: formatTime(from + lengthMs) },
    source:
      stream == null
        ? null
        : {
            stream,
            partition: opened.source_partition ?? 0,
            offset: opened.source_offset ?? 0,
            eventId: opened.source_event ?? "",
          },
    condition: opened.condition ?? null,
    acknowledged: acknowledged === null ? null : { at: formatTime(acknowledged.atMs), by: acknowledged.author },
    clearedAt: clearedAtMs === undefined ? null : formatTime(clearedAtMs),
    silencedUntil: untilMs === null ? null : formatTime(untilMs),
  };
}

/** Which alerts are asked for; what is absent says nothing. */
export interface AlertQuestion {
  readonly rule?: string;
  readonly severity?: string;
  readonly state?: AlertState;
  readonly key?: string;
  /** Event times, epoch milliseconds: from this one on, and before that one. */
  readonly fromMs?: number;
  readonly toMs?: number;
}

/**
 * The alerts that are asked for, the newest event first: of `states`, and of `others`, which states may know already.
 */
export function alertsAsked(
  states: AlertStates,
  question: AlertQuestion,
  nowMs: number,
  others: readonly Alert[] = [],
): Alert[] {
  const { rule, severity, state, key, fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY } = question;
  const isWanted = (alert: Alert) => {
    const { opened } = alert;
    return (
      (rule === undefined || opened.rule === rule) &&
      (severity === undefined || opened.severity === severity) &&
      (state === undefined || states.stateOf(alert, nowMs) === state) &&
      (key === undefined || opened.key === key) &&
      opened.at >= fromMs &&
      opened.at < toMs
    );
  };
  return [...states.all(), ...others.filter(({ id }) => states.get(id) === undefined)]
    .filter(isWanted)
    .sort((a, b) => b.opened.at - a.opened.at || b.writtenAtMs - a.writtenAtMs || (a.id < b.id ? -1 : 1));
}
