export type AlertState = "open" | "acknowledged" | "silenced" | "cleared";

/** An alert as answers and deliveries show it. Times are ISO 8601, UTC. */
export interface ShownAlert {
  readonly id: string;
  readonly rule: string;
  readonly severity: string | null;
  readonly state: AlertState;
  readonly key: string | null;
  readonly says: string | null;
  /** Event time of the record that opened it. */
  readonly at: string;
  /** When the alert was written. */
  readonly openedAt: string;
  /** The interval of event time whose one alert it is. */
  readonly quiet: { readonly from: string; readonly to: string } | null;
  readonly source: {
    readonly stream: string;
    readonly partition: number;
    readonly offset: number;
    readonly eventId: string;
  } | null;
  readonly condition: string | null;
  readonly acknowledged: { readonly at: string; readonly by: string | null } | null;
  /** When the problem was over; null while it lasts, and for alerts of rules. */
  readonly clearedAt: string | null;
  readonly silencedUntil: string | null;
}

/** Alerts that a delivery hands over in one message. */
export interface ShownGroup {
  /** Follows from the alerts: the same whenever they are handed over again. */
  readonly id: string;
  /** What the alerts have in common: the same rule, or the same severity. */
  readonly by: "rule" | "severity";
  readonly value: string | null;
  /** Those that are open, in the order of the log; at least one. */
  readonly alerts: readonly [ShownAlert, ...ShownAlert[]];
}

/** What a function of one's own is given beside the alert. */
export interface SendOptions {
  /** Aborted after ten seconds, and when the process ends. */
  readonly signal: AbortSignal;
  /** The same whenever the message is sent again: `<delivery>.<alert or group>`. */
  readonly id: string;
  /** All alerts of the message: several where the delivery groups them. */
  readonly alerts: readonly ShownAlert[];
}

/** Hands an alert over. When it throws it is tried again. */
export type SendAlert = (alert: ShownAlert, options: SendOptions) => Promise<void> | void;
