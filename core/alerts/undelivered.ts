import { OWN_RULE } from "../contract/alerts.ts";
import type { Delivery } from "../definition/delivery.ts";
import type { AlertEvent } from "./alert.ts";

/**
 * The log of alerts that a delivery could not hand over. A record's key is `<delivery>/<alert>`. Its header `kind` is
 * `failed`, with the header `reason` and the alert's event as the value, or `replayed` when the alert was handed over
 * after that.
 */
export const UNDELIVERED = { kind: "kind", reason: "reason" } as const;

export function undeliveredKey(delivery: string, alert: string): string {
  return `${delivery}/${alert}`;
}

/** Returns the name that a delivery's positions have in the place of a stream. No stream has a slash in its name. */
export function positionsOf(delivery: string): string {
  return `delivery/${delivery}`;
}

/**
 * Whether a delivery takes an event of the stream of alerts. It does not take Tideline's own alerts there: they are
 * handed over before they are in the stream.
 */
export function isFor(delivery: Pick<Delivery, "rules" | "severities">, event: AlertEvent): boolean {
  return event.kind === "opened" && event.rule !== OWN_RULE && takes(delivery, event);
}

/** Whether a delivery is for alerts of this rule and severity. */
export function takes(
  { rules, severities }: Pick<Delivery, "rules" | "severities">,
  { rule, severity }: Pick<AlertEvent, "rule" | "severity">,
): boolean {
  return (
    (rules === null || rules.includes(rule)) &&
    (severities === null || (severity != null && severities.includes(severity)))
  );
}
