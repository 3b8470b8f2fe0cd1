import { z } from "zod";
import { SEVERITIES } from "../contract/alerts.ts";
import { time } from "../json-parts.ts";

export const ALERT_STATES = ["open", "acknowledged", "silenced", "cleared"] as const;
export type AlertState = (typeof ALERT_STATES)[number];

/** An alert in the form of answers and deliveries. Times are ISO 8601, UTC. */
export const ShownAlert = z
  .object({
    id: z.string().describe("follows from the rule, its key and the interval: the same records give the same id"),
    rule: z.string(),
    severity: z.enum(SEVERITIES).nullable(),
    state: z.enum(ALERT_STATES),
    key: z.string().nullable(),
    says: z.string().nullable(),
    at: time.describe("event time of the record that opened it"),
    openedAt: time.describe("when the alert was written"),
    quiet: z.object({ from: time, to: time }).nullable().describe("the interval of event time whose one alert it is"),
    source: z.object({ stream: z.string(), partition: z.int(), offset: z.int(), eventId: z.string() }).nullable(),
    condition: z.string().nullable(),
    acknowledged: z.object({ at: time, by: z.string().nullable() }).nullable(),
    clearedAt: time.nullable().describe("when the problem of one of Tideline's own alerts was over"),
    silencedUntil: time.nullable(),
  })
  .readonly();
export type ShownAlert = z.infer<typeof ShownAlert>;

/** Alerts that a delivery hands over in one message. */
export interface ShownGroup {
  /** An id made from the alerts, so that it is the same whenever they are handed over again. */
  readonly id: string;
  /** The property that the alerts have in common: the same rule, or the same severity. */
  readonly by: "rule" | "severity";
  readonly value: string | null;
  /** The alerts that are open, in the order of the log. At least one. */
  readonly alerts: readonly [ShownAlert, ...ShownAlert[]];
}

/** The second argument of a delivery's own function, after the alert. */
export interface SendOptions {
  /** Aborted after ten seconds, and when the process ends. */
  readonly signal: AbortSignal;
  /** The id of the message, the same each time it is sent: `<delivery>.<alert or group>`. */
  readonly id: string;
  /** All alerts of the message: several if the delivery groups them. */
  readonly alerts: readonly ShownAlert[];
}

/** Hands an alert over. If it throws, it is called again. */
export type SendAlert = (alert: ShownAlert, options: SendOptions) => Promise<void> | void;
