import type { Dictionary } from "../../store/definitions/dictionary.ts";
import type { OwnAlerts } from "../alerts/own-alerts.ts";
import type { ServedAlerts } from "../alerts/served-alerts.ts";
import type { LiveFeeds } from "../answer/live-feeds.ts";
import type { ServingMetrics } from "../operations/metrics.ts";
import type { Changes } from "../operations/overview.ts";
import type { Problems } from "../operations/problems.ts";
import type { StreamQuality } from "../operations/stream-quality.ts";
import type { KeyHistories } from "../proof/key-history.ts";
import type { Proofs } from "../proof/proofs.ts";
import type { RedisGate } from "../read/live/redis-gate.ts";
import type { ViewStatuses } from "../read/live/view-status.ts";
import type { PositionWaits } from "../read/position-waits.ts";
import type { Reader } from "../read/reader.ts";
import type { StreamRecords } from "../records/stream-records.ts";
import type { JoinedTables } from "../views/joined-tables.ts";
import type { DescribedView } from "../views/served-views.ts";

/** The objects that the routes answer from. */
export interface Serving {
  readonly reader: Reader;
  readonly statuses: ViewStatuses;
  readonly changes: Changes;
  readonly gate: RedisGate;
  readonly views: ReadonlyMap<string, DescribedView>;
  readonly waits: PositionWaits;
  readonly live: LiveFeeds;
  readonly quality: StreamQuality;
  readonly records: StreamRecords;
  readonly alerts: ServedAlerts;
  readonly ownAlerts: OwnAlerts;
  readonly proofs: Proofs;
  readonly histories: KeyHistories;
  readonly joins: JoinedTables;
  readonly problems: Problems;
  readonly metrics: ServingMetrics;
  /** Returns the dictionary of all definitions. */
  readonly dictionary: () => Promise<Dictionary>;
  readonly namespace: string;
}
