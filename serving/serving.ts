import type { LiveFeeds } from "./live-feeds.ts";
import type { ServingMetrics } from "./metrics.ts";
import type { Changes } from "./overview.ts";
import type { PositionWaits } from "./position-waits.ts";
import type { Problems } from "./problems.ts";
import type { Proofs } from "./proofs.ts";
import type { Reader } from "./reader.ts";
import type { RedisGate } from "./redis-gate.ts";
import type { DescribedView } from "./served-views.ts";
import type { Standings } from "./standings.ts";
import type { StreamQuality } from "./stream-quality.ts";

/** What the routes answer from. */
export interface Serving {
  readonly reader: Reader;
  readonly standings: Standings;
  readonly changes: Changes;
  readonly gate: RedisGate;
  readonly views: ReadonlyMap<string, DescribedView>;
  readonly waits: PositionWaits;
  readonly live: LiveFeeds;
  readonly quality: StreamQuality;
  readonly proofs: Proofs;
  readonly problems: Problems;
  readonly metrics: ServingMetrics;
  readonly namespace: string;
}
