import type { Logger } from "pino";
import type { Definition } from "../store/definitions/definitions.ts";
import type { Chain } from "../store/redis/chain.ts";
import { compactSegments, segmentsToCompact } from "../store/redis/compact-segments.ts";
import type { SpeedMetrics } from "./metrics.ts";

export interface SegmentCompactionDeps {
  readonly definition: Definition;
  readonly chain: Chain;
  readonly metrics: SpeedMetrics;
  readonly logger: Logger;
}

/** Compacts the segments of a view that were sealed for size, while the other work continues. */
export class SegmentCompaction {
  readonly #deps: SegmentCompactionDeps;
  #isUnderWay = false;

  constructor(deps: SegmentCompactionDeps) {
    this.#deps = deps;
  }

  /** Begins a compaction when there are enough segments, unless one is under way. Does not wait for its end. */
  async whenDue(): Promise<void> {
    const { chain, definition, metrics, logger } = this.#deps;
    const { view } = definition;
    const state = this.#isUnderWay ? null : await chain.load();
    const segments = state === null ? null : segmentsToCompact(state);
    if (segments === null) return;
    this.#isUnderWay = true;
    compactSegments(chain, view, segments)
      .then((compacted) => {
        if (compacted) metrics.compactions.inc({ view: view.name });
      })
      // Logged and not counted as a failure: the view continues, and tries again with the next sealed segment.
      .catch((error: unknown) =>
        logger.warn({ view: view.name, error: (error as Error).message }, "segments not compacted"),
      )
      .finally(() => {
        this.#isUnderWay = false;
      });
  }
}
