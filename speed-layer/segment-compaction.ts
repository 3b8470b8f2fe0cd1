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

/** Merges the segments of a view that were closed for size, beside the work that continues. */
export class SegmentCompaction {
  readonly #deps: SegmentCompactionDeps;
  #isUnderWay = false;

  constructor(deps: SegmentCompactionDeps) {
    this.#deps = deps;
  }

  /** Begins to merge when enough segments have piled up, unless that is under way; does not wait for its end. */
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
      // Not counted: a view whose segments stay apart continues, and tries again with the next segment that is closed.
      .catch((error: unknown) =>
        logger.warn({ view: view.name, error: (error as Error).message }, "segments not compacted"),
      )
      .finally(() => {
        this.#isUnderWay = false;
      });
  }
}
