import type { LagLimits } from "../core/alerts/own-problems.ts";
import type { Pace } from "../deliveries/attempts.ts";
import type { MailSettings } from "../deliveries/sender.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import type { RoleOptions } from "../store/role-options.ts";

export interface MonitorOptions extends RoleOptions {
  readonly definitions: Definitions;
  readonly limitsOf: (stream: string) => LagLimits;
  readonly retentionWarnHours: number;
  readonly mail: MailSettings;
  /** TIDELINE_ALERTS_TO: who gets own alerts by mail; "" for nobody. */
  readonly alertsTo: string;
  /** How this process is called in the journal and in logs. */
  readonly name: string;
  readonly pace?: MonitorPace;
}

/** How a monitor paces itself, in milliseconds. */
export interface MonitorPace {
  /** Between two checks. */
  readonly everyMs: number;
  /** After so long without a sign of life of the process that watches another one takes over. */
  readonly takeOverMs: number;
  /** How long a problem must be there before it is an alert, and gone before the alert is cleared. */
  readonly patienceMs: number;
  /** How long a message that was not taken waits until it is tried again. */
  readonly againMs: number;
  /** How old the positions may be that rules and deliveries write: what the log has got since then is not a lag. */
  readonly positionsMs: number;
  readonly delivery: Pace;
}
