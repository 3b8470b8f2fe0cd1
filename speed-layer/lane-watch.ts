import { TidelineError } from "../core/errors.ts";
import type { Failing, FailureCounter } from "../store/redis/failure-tracker.ts";
import type { Lane } from "./lane.ts";
import type { ViewTrack } from "./view-track.ts";
import type { ViewWatch } from "./view-watch.ts";

/** A step that takes longer than this is stalled: Kafka, DuckDB or Redis does not reply. */
const STALLED_AFTER_MS = 120_000;

const HINT =
  "See whether Kafka, Redis and the disk are well: `tideline doctor`. If the live state in Redis " +
  "is damaged, `tideline views reset <view> --yes` reads it again from the log.";

export interface LaneWatchDeps {
  readonly failures: FailureCounter;
  /** The lane's name in failures: its stream, with the view if the lane reads one view alone. */
  readonly name: string;
  readonly views: ViewWatch;
  readonly nowMs: () => number;
}

/**
 * Decides whether a lane makes progress. A step that returns does not prove it, because a write to Redis may fail in a
 * later step. A lane makes progress when Redis has taken a batch since the last failure, or when nothing was left to
 * do.
 */
export class LaneWatch {
  readonly #deps: LaneWatchDeps;
  /** The number of batches that Redis had taken at the lane's last failure. Null if it has made progress since. */
  #failedAt: number | null = null;
  #stepSinceMs: number | null = null;

  constructor(deps: LaneWatchDeps) {
    this.#deps = deps;
  }

  begins(): void {
    this.#stepSinceMs = this.#deps.nowMs();
  }

  /** Call it after a step that took `records` and did not fail. Returns whether the lane makes progress. */
  returned(lane: Lane, records: number): boolean {
    this.#stepSinceMs = null;
    this.#deps.views.observe(lane, records === 0);
    const getsOn = this.#failedAt === null || records === 0 || lane.confirmed > this.#failedAt;
    if (!getsOn) return false;
    this.#failedAt = null;
    this.#deps.failures.succeeded(this.#lane([]));
    return true;
  }

  interrupted(lane: Lane, error: unknown): void {
    this.#stepSinceMs = null;
    this.#failedAt = lane.confirmed;
    this.#deps.views.observe(lane, false);
    this.#deps.failures.failed(this.#lane(lane.tracks), error);
  }

  /** Counts a step that does not end. Call it from time to time. */
  checkStalled(lane: Lane): void {
    const sinceMs = this.#stepSinceMs;
    if (sinceMs === null || this.#deps.nowMs() - sinceMs < STALLED_AFTER_MS) return;
    this.#failedAt = lane.confirmed;
    this.#deps.failures.stopped(
      this.#lane(lane.tracks),
      new TidelineError(
        "NOT_READY",
        "a step has not ended for two minutes",
        "See whether Kafka and Redis answer: `tideline doctor`. Then restart the `tideline speed` that reads the " +
          "stream, or each in turn: it continues where Redis says that it was.",
      ),
    );
  }

  /** Call it when the lane has no views any more, or the process ends. */
  ended(): void {
    this.#deps.failures.succeeded(this.#lane([]));
  }

  #lane(tracks: Iterable<ViewTrack>): Failing {
    const views = [...tracks].map(({ generation }) => generation);
    return { kind: "lane", name: this.#deps.name, views, hint: HINT };
  }
}
