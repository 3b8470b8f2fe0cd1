import type { Failure } from "../../core/failures.ts";
import type { ScheduleStatus } from "./schedules.ts";
import type { ServerStatus } from "./servers.ts";
import type { StreamStatus } from "./streams.ts";
import type { StatusLine } from "./views.ts";

/** Where everything stands, before it is judged. */
export interface Findings {
  readonly servers: readonly ServerStatus[];
  readonly streams: readonly StreamStatus[];
  readonly views: readonly StatusLine[];
  readonly schedules: readonly ScheduleStatus[];
  /** What is stopped, or fails again and again. */
  readonly failures: readonly Failure[];
  /** How many workers ask Temporal for work; null when it does not say. */
  readonly workers: number | null;
}

/** What `tideline status` shows, as tables or as JSON. */
export interface Report extends Findings {
  readonly healthy: boolean;
  /** A sentence for each thing that is not healthy. */
  readonly problems: readonly string[];
}
