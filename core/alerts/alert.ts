import { createHash } from "node:crypto";
import { ALERT_TEXT, alerts, OWN_RULE, type Severity } from "../contract/alerts.ts";
import type { EventOf } from "../contract/stream.ts";
import type { Rule } from "../definition/rule.ts";
import { bucketOf } from "../time.ts";

/** An event of the stream of alerts. */
export type AlertEvent = EventOf<typeof alerts>;

/** An event for which a rule's condition is true. */
export interface Match {
  readonly rule: Rule;
  readonly partition: number;
  readonly offset: bigint;
  /** Event time, epoch milliseconds. */
  readonly atMs: number;
  readonly eventId: string;
  /** The rule's key as text. Null if the rule has none. */
  readonly key: string | null;
  readonly says: string | null;
}

/** An alert that a rule opens, and the record that opened it: the first of its interval that met the condition. */
export interface OpenedAlert {
  readonly id: string;
  readonly rule: string;
  readonly severity: Severity;
  readonly key: string | null;
  readonly says: string | null;
  readonly atMs: number;
  readonly quietFromMs: number;
  readonly quietMs: number;
  readonly stream: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly eventId: string;
  readonly condition: string;
}

/**
 * The hexadecimal digits of the hash in an id: 80 bits, so that two of a billion alerts have the same id with a chance
 * of one in two million.
 */
const ID_DIGITS = 20;

/**
 * Returns the id of an alert: `<rule>-<hash>`, where the hash is the beginning of SHA-256 of the JSON text `[rule, key,
 * quietFromMs]`. It depends on nothing else, so every reader of the same records computes the same ids.
 */
export function alertId(rule: string, key: string | null, quietFromMs: number): string {
  const hash = createHash("sha256")
    .update(JSON.stringify([rule, key, quietFromMs]))
    .digest("hex");
  return `${rule}-${hash.slice(0, ID_DIGITS)}`;
}

/** Returns the alert of a match. Matches of the same interval have the same alert id. */
export function alertOf({ rule, partition, offset, atMs, eventId, key, says }: Match): OpenedAlert {
  const quietFromMs = bucketOf(atMs, rule.quietMs);
  return {
    id: alertId(rule.name, key, quietFromMs),
    rule: rule.name,
    severity: rule.severity,
    key: key === null ? null : clipped(key, ALERT_TEXT.key),
    says: says === null ? null : clipped(says, ALERT_TEXT.says),
    atMs,
    quietFromMs,
    quietMs: rule.quietMs,
    stream: rule.on.name,
    partition,
    offset,
    eventId: clipped(eventId, ALERT_TEXT.eventId),
    condition: rule.when.text,
  };
}

/** Returns the alerts that matches open, in order, each once, without those that `isKnown`. */
export function openedBy(matches: Iterable<Match>, isKnown: (id: string) => boolean): OpenedAlert[] {
  const opened = new Map<string, OpenedAlert>();
  for (const match of matches) {
    const alert = alertOf(match);
    if (!opened.has(alert.id) && !isKnown(alert.id)) opened.set(alert.id, alert);
  }
  return [...opened.values()];
}

/** Returns the event of an opened alert, as it is written. */
export function openedEvent(alert: OpenedAlert): AlertEvent {
  return {
    event_id: alert.id,
    kind: "opened",
    subject: alert.id,
    at: alert.atMs,
    rule: alert.rule,
    severity: alert.severity,
    key: alert.key ?? undefined,
    says: alert.says ?? undefined,
    quiet_from: alert.quietFromMs,
    quiet_ms: alert.quietMs,
    source_stream: alert.stream,
    source_partition: alert.partition,
    source_offset: Number(alert.offset),
    source_event: alert.eventId,
    condition: alert.condition,
    silent_until: undefined,
    author: undefined,
  };
}

/** The fields of a record, all absent, for the events that people cause. */
const NO_RECORD = {
  severity: undefined,
  key: undefined,
  says: undefined,
  quiet_from: undefined,
  quiet_ms: undefined,
  source_stream: undefined,
  source_partition: undefined,
  source_offset: undefined,
  source_event: undefined,
  condition: undefined,
} as const;

/** The content of one of Tideline's own alerts. */
export interface OwnAlert {
  readonly id: string;
  readonly severity: Severity;
  /** The name of the problem, such as `lag/orders`. */
  readonly key: string;
  readonly says: string;
}

/** Returns the event that opens one of Tideline's own alerts. No record opened it. */
export function ownOpenedEvent({ id, severity, key, says }: OwnAlert, atMs: number): AlertEvent {
  return {
    ...{ event_id: id, kind: "opened", subject: id, at: atMs, rule: OWN_RULE, ...NO_RECORD },
    ...{ severity, key: clipped(key, ALERT_TEXT.key), says: clipped(says, ALERT_TEXT.says) },
    ...{ silent_until: undefined, author: undefined },
  };
}

/** Returns the event that ends one of Tideline's own alerts. */
export function clearedEvent({ id }: Pick<OwnAlert, "id">, atMs: number): AlertEvent {
  return {
    ...{ event_id: `${id}/cleared`, kind: "cleared", subject: id, at: atMs, rule: OWN_RULE, ...NO_RECORD },
    ...{ silent_until: undefined, author: undefined },
  };
}

/**
 * Returns the event of an acknowledgement: somebody works on the alert. The first one counts; later ones are duplicates
 * of it.
 */
export function acknowledgedEvent(
  { id, rule }: Pick<OpenedAlert, "id" | "rule">,
  { atMs, author }: { readonly atMs: number; readonly author: string },
): AlertEvent {
  const who = clipped(author, ALERT_TEXT.author);
  return {
    ...{ event_id: `${id}/acknowledged`, kind: "acknowledged", subject: id, at: atMs, rule, ...NO_RECORD },
    ...{ silent_until: undefined, author: who },
  };
}

/** Returns the event that silences a rule until `untilMs`. 0 ends the silence. Each event needs a new `eventId`. */
export function silencedEvent(
  rule: string,
  { eventId, atMs, untilMs, author }: { eventId: string; atMs: number; untilMs: number; author: string },
): AlertEvent {
  const who = clipped(author, ALERT_TEXT.author);
  return {
    ...{ event_id: eventId, kind: "silenced", subject: rule, at: atMs, rule, ...NO_RECORD },
    ...{ silent_until: untilMs, author: who },
  };
}

/** Returns an event of the stream of alerts, or null for bytes that are not one. */
export function alertEventFrom(value: Buffer | null): AlertEvent | null {
  if (value === null) return null;
  try {
    const { success, data } = alerts.contract.safeParse(JSON.parse(value.toString("utf8")));
    return success ? data : null;
  } catch {
    return null;
  }
}

/** Cuts a text off at `max` UTF-16 units, without splitting a character. */
export function clipped(text: string, max: number): string {
  if (text.length <= max) return text;
  const cut = text.slice(0, max);
  return cut.isWellFormed() ? cut : cut.slice(0, -1);
}
