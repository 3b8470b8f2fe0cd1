import type { AlertEvent } from "../core/alerts/alert.ts";
import { type AlertStates, type ShownAlert, shownAlert } from "../core/alerts/alert-states.ts";
import { UNDELIVERED, undeliveredKey } from "../core/alerts/undelivered.ts";
import type { Delivery } from "../core/definition/delivery.ts";
import type { TransactionRecord } from "../store/kafka/produce/transactional.ts";
import type { FoundAlert } from "./alert-log.ts";
import type { Attempts } from "./attempts.ts";
import type { DeliveryMetrics } from "./metrics.ts";
import type { Sent } from "./sender.ts";

export interface HandOverDeps {
  readonly delivery: Delivery;
  /** The topic of alerts that could not be handed over. */
  readonly undelivered: string;
  readonly attempts: Attempts;
  /** The silenced rules and the acknowledged alerts. */
  readonly states: () => AlertStates;
  readonly metrics: DeliveryMetrics;
  readonly onDone: (failure: string | null) => void;
  /** Called when the receiver fails so often that nothing is tried for a while, and alerts wait. */
  readonly onBroken: (reason: string) => void;
  readonly nowMs: () => number;
}

/**
 * Sends alerts to a receiver. Each try sends a new message (`messageOf`) without the alerts that were silenced or
 * acknowledged since. If no alert is left, nothing is sent. Returns a dead letter for each alert that the receiver did
 * not take. Throws the signal's reason when the signal is aborted.
 */
export async function handOver(
  deps: HandOverDeps,
  alerts: readonly FoundAlert[],
  messageOf: (open: readonly [ShownAlert, ...ShownAlert[]]) => Sent,
  signal: AbortSignal,
): Promise<TransactionRecord[]> {
  const { delivery, attempts, metrics, undelivered, onDone, onBroken } = deps;
  const count = (outcome: string, by: number) => metrics.alerts.inc({ delivery: delivery.name, outcome }, by);
  let open = openOf(deps, alerts);
  const messageNow = () => {
    open = openOf(deps, alerts);
    const [first, ...others] = open.map(({ shown }) => shown);
    return first === undefined ? null : messageOf([first, ...others]);
  };
  const reason = open.length === 0 ? null : await attempts.deliver(messageNow, signal, onBroken);
  if (open.length < alerts.length) count("silenced", alerts.length - open.length);
  if (open.length === 0) return [];
  count(reason === null ? "delivered" : "failed", open.length);
  onDone(reason);
  return reason === null ? [] : open.map(({ event }) => deadLetter(delivery, undelivered, event, reason));
}

/** Returns the alerts that are neither silenced nor acknowledged now. */
function openOf({ states, nowMs }: HandOverDeps, alerts: readonly FoundAlert[]) {
  const [known, now] = [states(), nowMs()];
  return alerts.flatMap(({ event, writtenAtMs }) => {
    const acknowledged = known.acknowledgementOf(event.subject);
    const alert = { id: event.subject, opened: event, writtenAtMs, acknowledged };
    return known.stateOf(alert, now) === "open" ? [{ event, shown: shownAlert(known, alert, now) }] : [];
  });
}

function deadLetter({ name }: Delivery, topic: string, event: AlertEvent, reason: string): TransactionRecord {
  const headers = { [UNDELIVERED.kind]: "failed", [UNDELIVERED.reason]: reason };
  return { topic, partition: 0, key: undeliveredKey(name, event.subject), value: JSON.stringify(event), headers };
}
