import type { Failure } from "../../core/failures.ts";
import type { ScheduleStatus } from "./schedules.ts";
import type { ServerStatus } from "./servers.ts";
import type { StreamStatus } from "./streams.ts";
import type { StatusLine } from "./views.ts";

/** The state of everything, before it is judged. */
export interface Findings {
  readonly servers: readonly ServerStatus[];
  readonly streams: readonly StreamStatus[];
  readonly views: readonly StatusLine[];
  readonly schedules: readonly ScheduleStatus[];
  /** The things that have stopped, or fail again and again. */
  readonly failures: readonly Failure[];
  /** How many workers ask Temporal for work; null if that is unknown. */
  readonly workers: number | null;
}

/** The contents of `tideline status`, printed as tables or as JSON. */
export interface Report extends Findings {
  readonly healthy: boolean;
  /** A sentence for each problem. */
  readonly problems: readonly string[];
}
