import type { Logger } from "pino";
import type { Definition } from "../store/definitions/definitions.ts";
import type { Chain } from "../store/redis/chain.ts";
import { fold, foldable } from "../store/redis/fold.ts";
import type { SpeedMetrics } from "./metrics.ts";

export interface FoldingDeps {
  readonly definition: Definition;
  readonly chain: Chain;
  readonly metrics: SpeedMetrics;
  readonly logger: Logger;
}

/** Folds the segments of a view that were closed for size, beside the work that continues. */
export class SegmentFolding {
  readonly #deps: FoldingDeps;
  #folding = false;

  constructor(deps: FoldingDeps) {
    this.#deps = deps;
  }

  /** Begins to fold when enough segments have piled up, unless that is under way; does not wait for its end. */
  async whenDue(): Promise<void> {
    const { chain, definition, metrics, logger } = this.#deps;
    const { view } = definition;
    const state = this.#folding ? null : await chain.load();
    const segments = state === null ? null : foldable(state);
    if (segments === null) return;
    this.#folding = true;
    fold(chain, view, segments)
      .then((folded) => {
        if (folded) metrics.folds.inc({ view: view.name });
      })
      // Not counted: a view whose segments stay apart continues, and tries again with the next segment that is closed.
      .catch((error: unknown) =>
        logger.warn({ view: view.name, error: (error as Error).message }, "segments not folded"),
      )
      .finally(() => {
        this.#folding = false;
      });
  }
}
