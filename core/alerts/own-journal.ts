import { z } from "zod";
import { SEVERITIES } from "../contract/alerts.ts";
import type { Delivery } from "../definition/delivery.ts";
import { isDuring } from "../definition/during.ts";
import { type AlertEvent, clearedEvent, ownOpenedEvent } from "./alert.ts";
import type { Alert } from "./alert-states.ts";
import { type OwnProblem, ownAlertId, type Watched } from "./own-alerts.ts";
import { takes } from "./undelivered.ts";

/**
 * The journal of Tideline's own alerts, a document in the data directory: the alerts, and the outcome of each message
 * about them. Pure: every transition returns a new journal.
 */

/**
 * The outcome of a message in a delivery: it still waits, was handed over, was given up, or was left out because the
 * alert is silenced or acknowledged.
 */
const OUTCOMES = ["waits", "delivered", "failed", "silenced"] as const;
export type Outcome = (typeof OUTCOMES)[number];

const Message = z.strictObject({
  /** Epoch milliseconds. */
  atMs: z.number(),
  /** Whether the message's event is in the stream of alerts. */
  appended: z.boolean(),
  /** By delivery. */
  deliveries: z.record(z.string(), z.enum(OUTCOMES)),
});
type Message = z.infer<typeof Message>;

const OwnAlertRecord = z.strictObject({
  id: z.string(),
  key: z.string(),
  severity: z.enum(SEVERITIES),
  says: z.string(),
  /** The time when the problem was first seen, in epoch milliseconds. */
  sinceMs: z.number(),
  opened: Message,
  /** Null while the problem lasts. */
  cleared: Message.nullable(),
});
export type OwnAlertRecord = z.infer<typeof OwnAlertRecord>;

export const OwnJournal = z.strictObject({
  /** The process that watches. Null: none does, and the next one may begin at once. */
  holder: z.string().nullable(),
  /** The oldest first. */
  alerts: z.array(OwnAlertRecord),
});
export type OwnJournal = z.infer<typeof OwnJournal>;

export const NO_OWN_ALERTS: OwnJournal = { holder: null, alerts: [] };

/** The two messages about an alert. */
export type MessageKind = "opened" | "cleared";

/** A message that a delivery has not handed over yet, or that is not in the stream of alerts yet. */
export interface OpenMessage {
  readonly alert: OwnAlertRecord;
  readonly kind: MessageKind;
  readonly atMs: number;
}

/** The most alerts that are over in the journal. */
const MOST_OVER = 200;

/** Returns the keys of the alerts whose problem lasts. */
export function openKeys({ alerts }: OwnJournal): Set<string> {
  return new Set(alerts.flatMap(({ key, cleared }) => (cleared === null ? [key] : [])));
}

/**
 * Returns the journal with the alerts that a check has opened and cleared. Each message waits in the deliveries that
 * take it.
 */
export function journalled(
  journal: OwnJournal,
  { opened, cleared }: Pick<Watched, "opened" | "cleared">,
  deliveries: readonly Delivery[],
  nowMs: number,
): OwnJournal {
  const over = new Set(cleared);
  const alerts = journal.alerts.map((alert) =>
    alert.cleared === null && over.has(alert.key) ? { ...alert, cleared: endOf(alert, nowMs) } : alert,
  );
  const added = opened.map(({ problem, sinceMs }) => recordOf(problem, sinceMs, deliveries, nowMs));
  return { ...journal, alerts: withoutOldest([...alerts, ...added]) };
}

/** Returns the journal with the outcome of a message in a delivery. */
export function handedOver(
  journal: OwnJournal,
  { alert: { id }, kind }: Pick<OpenMessage, "alert" | "kind">,
  delivery: string,
  outcome: Outcome,
): OwnJournal {
  return changed(journal, id, kind, (message) => ({
    ...message,
    deliveries: { ...message.deliveries, [delivery]: outcome },
  }));
}

/** A message that a delivery has given up. */
export interface FailedMessage extends OpenMessage {
  readonly delivery: string;
}

/** Returns the messages that deliveries have given up, the oldest first. */
export function failedMessages({ alerts }: OwnJournal): FailedMessage[] {
  const all = alerts.flatMap((alert) =>
    (["opened", "cleared"] as const).flatMap((kind) => {
      const message = alert[kind];
      return Object.entries(message?.deliveries ?? {}).flatMap(([delivery, outcome]) =>
        message === null || outcome !== "failed" ? [] : [{ alert, kind, atMs: message.atMs, delivery }],
      );
    }),
  );
  return all.sort((a, b) => a.atMs - b.atMs);
}

/** Returns the journal with these messages marked as being in the stream of alerts. */
export function appended(journal: OwnJournal, messages: readonly OpenMessage[]): OwnJournal {
  return messages.reduce(
    (found, { alert: { id }, kind }) => changed(found, id, kind, (message) => ({ ...message, appended: true })),
    journal,
  );
}

/** Returns the messages that wait in a delivery, the oldest first. */
export function waitingFor(journal: OwnJournal, delivery: string): OpenMessage[] {
  return messagesOf(journal, ({ deliveries }) => deliveries[delivery] === "waits");
}

/** Returns the messages that are not in the stream of alerts yet, the oldest first. */
export function notAppended(journal: OwnJournal): OpenMessage[] {
  return messagesOf(journal, (message) => !message.appended);
}

/** Returns the event of a message for the stream of alerts. */
export function eventOf({ alert, kind, atMs }: OpenMessage): AlertEvent {
  return kind === "opened" ? ownOpenedEvent(alert, alert.sinceMs) : clearedEvent(alert, atMs);
}

/** Returns an alert of the journal in the form of states and answers. */
export function alertOfRecord(record: OwnAlertRecord): Alert {
  const { id, sinceMs, opened, cleared } = record;
  const alert = { id, opened: ownOpenedEvent(record, sinceMs), writtenAtMs: opened.atMs, acknowledged: null };
  return cleared === null ? alert : { ...alert, clearedAtMs: cleared.atMs };
}

function recordOf(
  { key, severity, says }: OwnProblem,
  sinceMs: number,
  deliveries: readonly Delivery[],
  nowMs: number,
): OwnAlertRecord {
  const id = ownAlertId(key, sinceMs);
  const event = ownOpenedEvent({ id, severity, key, says }, sinceMs);
  const isNow = ({ during }: Delivery) => during === null || isDuring(during, nowMs);
  const names = deliveries.filter((one) => takes(one, event) && isNow(one)).map(({ name }) => name);
  return { id, key, severity, says, sinceMs, opened: messageTo(names, nowMs), cleared: null };
}

/** Returns the message about the end of an alert. It goes to the deliveries that got the beginning. */
function endOf({ opened }: OwnAlertRecord, nowMs: number): Message {
  const told = Object.entries(opened.deliveries).filter(([, outcome]) => outcome !== "silenced");
  return messageTo(
    told.map(([name]) => name),
    nowMs,
  );
}

function messageTo(deliveries: readonly string[], atMs: number): Message {
  return { atMs, appended: false, deliveries: Object.fromEntries(deliveries.map((name) => [name, "waits"])) };
}

function messagesOf({ alerts }: OwnJournal, isWanted: (message: Message) => boolean): OpenMessage[] {
  const all = alerts.flatMap((alert) => [
    { alert, kind: "opened" as const, message: alert.opened },
    ...(alert.cleared === null ? [] : [{ alert, kind: "cleared" as const, message: alert.cleared }]),
  ]);
  return all
    .filter(({ message }) => isWanted(message))
    .sort((a, b) => a.message.atMs - b.message.atMs)
    .map(({ alert, kind, message }) => ({ alert, kind, atMs: message.atMs }));
}

function changed(
  journal: OwnJournal,
  id: string,
  kind: MessageKind,
  change: (message: Message) => Message,
): OwnJournal {
  const alerts = journal.alerts.map((alert) => {
    const message = alert[kind];
    return alert.id === id && message !== null ? { ...alert, [kind]: change(message) } : alert;
  });
  return { ...journal, alerts };
}

/**
 * Returns the alerts without those that were over first. An alert that is not in the stream of alerts yet is kept five
 * times as long.
 */
function withoutOldest(alerts: readonly OwnAlertRecord[]): OwnAlertRecord[] {
  const over = alerts.filter(({ cleared }) => cleared !== null);
  const isDone = ({ opened, cleared }: OwnAlertRecord) => opened.appended && cleared?.appended === true;
  const surplus = (some: readonly OwnAlertRecord[], most: number) => some.slice(0, Math.max(0, some.length - most));
  const gone = new Set([...surplus(over.filter(isDone), MOST_OVER), ...surplus(over, 5 * MOST_OVER)]);
  return alerts.filter((alert) => !gone.has(alert));
}
