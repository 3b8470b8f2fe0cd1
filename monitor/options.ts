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
  /** The value of TIDELINE_ALERTS_TO: the addresses that get own alerts by mail. "" for none. */
  readonly alertsTo: string;
  /** The name of this process in the journal and in logs. */
  readonly name: string;
  readonly pace?: MonitorPace;
}

/** The waiting times of a monitor, in milliseconds. */
export interface MonitorPace {
  /** The time between two checks. */
  readonly everyMs: number;
  /** The time without a sign of life of the watching process after which another one takes over. */
  readonly takeOverMs: number;
  /** How long a problem must be there before it is an alert, and gone before the alert is cleared. */
  readonly patienceMs: number;
  /** The wait before a message that was not taken is tried again. */
  readonly againMs: number;
  /**
   * The age of rules' and deliveries' positions that are still current: records that came since then do not count as
   * lag.
   */
  readonly positionsMs: number;
  readonly delivery: Pace;
}
