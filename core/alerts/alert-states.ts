import type { AlertState, ShownAlert } from "../definition/shown-alert.ts";
import { formatTime } from "../time.ts";
import type { AlertEvent } from "./alert.ts";

export type { AlertState, ShownAlert } from "../definition/shown-alert.ts";

/** The current state of an alert. */
export interface Alert {
  readonly id: string;
  /** The event that opened it. */
  readonly opened: AlertEvent;
  /** The time when it was written, by the log's clock, in epoch milliseconds. */
  readonly writtenAtMs: number;
  /** The place in the stream of alerts where it was opened. Absent if it was not read from there. */
  readonly place?: AlertPlace;
  readonly acknowledged: { readonly atMs: number; readonly author: string | null } | null;
  /** The time when the problem was over, in epoch milliseconds. Only Tideline's own alerts have it. */
  readonly clearedAtMs?: number;
}

export interface AlertPlace {
  readonly partition: number;
  readonly offset: bigint;
}

/** An event of the stream of alerts, with the time and place of its record. */
export interface WrittenAlertEvent {
  readonly event: AlertEvent;
  readonly writtenAtMs: number;
  readonly place?: AlertPlace;
}

type Acknowledgement = NonNullable<Alert["acknowledged"]>;

/**
 * The alerts of a log, the oldest first, and the silenced rules. An alert that is written twice counts once. The newest
 * `most` alerts are remembered, and ten times as many acknowledgements. These include acknowledgements of forgotten
 * alerts, because an escalation may need them.
 */
export class AlertStates {
  readonly #most: number;
  readonly #alerts = new Map<string, Alert>();
  readonly #acknowledged = new Map<string, Acknowledgement>();
  /** For each silenced rule, the time when the silence ends, in epoch milliseconds. */
  readonly #silences = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes the next event. Returns the alert that it opened or changed, or null if it changed none. */
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

  /** Silences a rule until `untilMs`, in epoch milliseconds. 0 ends the silence. */
  silence(rule: string, untilMs: number): void {
    this.#silences.set(rule, untilMs);
  }

  get(id: string): Alert | undefined {
    return this.#alerts.get(id);
  }

  /** Returns the first acknowledgement of an alert, also of one that was forgotten. Null if there is none. */
  acknowledgementOf(id: string): Acknowledgement | null {
    return this.#acknowledged.get(id) ?? null;
  }

  /** Returns all remembered alerts, in the order in which they were taken. */
  all(): Alert[] {
    return [...this.#alerts.values()];
  }

  /** Returns the time when a rule's silence ends, in epoch milliseconds. Null if the rule is not silenced. */
  silencedUntil(rule: string, nowMs: number): number | null {
    const untilMs = this.#silences.get(rule) ?? 0;
    return untilMs > nowMs ? untilMs : null;
  }

  /** Returns an alert's state. If several hold, cleared goes before acknowledged, and acknowledged before silenced. */
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

/** Returns an alert at `nowMs` in the form of answers. */
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

/** A selection of alerts. An absent property selects all. */
export interface AlertQuestion {
  readonly rule?: string;
  readonly severity?: string;
  readonly state?: AlertState;
  readonly key?: string;
  /** The interval of event times, in epoch milliseconds: `fromMs` included, `toMs` excluded. */
  readonly fromMs?: number;
  readonly toMs?: number;
}

/**
 * Returns the selected alerts of `states` and `others`, the newest event first. `others` may contain alerts that
 * `states` has too.
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
