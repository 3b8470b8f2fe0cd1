import type { TidelineError } from "../core/errors.ts";
import type { FailureCounter } from "../store/redis/failure-tracker.ts";
import type { Lane } from "./lane.ts";
import type { ViewTrack } from "./view-track.ts";

interface StoppedView {
  readonly error: TidelineError;
  /**
   * The lane in which the view was first seen live again, and how many batches of that lane Redis had taken by then.
   */
  readonly liveIn: Lane | null;
  readonly confirmed: number;
}

/**
 * Reports the stopped views of a stream, whichever lane reads for them. A view that attaches again may be stopped by
 * the next batch. So it counts as resumed only when it is live and Redis has taken a batch since, or when nothing was
 * left to do.
 */
export class ViewWatch {
  readonly #failures: FailureCounter;
  readonly #nameOf: (track: ViewTrack) => string;
  readonly #stopped = new Map<ViewTrack, StoppedView>();

  /** `nameOf` returns the name of a view among those of this process. */
  constructor(failures: FailureCounter, nameOf: (track: ViewTrack) => string) {
    this.#failures = failures;
    this.#nameOf = nameOf;
  }

  nameOf(track: ViewTrack): string {
    return this.#nameOf(track);
  }

  /** Call it after each step of a lane. `idle`: the step had nothing to do, and nothing is on its way to Redis. */
  observe(lane: Lane, idle: boolean): void {
    for (const track of lane.tracks) {
      const { error, phase } = track;
      const known = this.#stopped.get(track);
      if (error !== null) {
        if (known?.error !== error)
          this.#failures.stopped({ kind: "view", name: this.#nameOf(track), views: [track.generation] }, error);
        this.#stopped.set(track, { error, liveIn: null, confirmed: 0 });
      } else if (known !== undefined && phase === "live") {
        if (idle || (known.liveIn === lane && lane.confirmed > known.confirmed)) this.resumed(track);
        else if (known.liveIn !== lane) this.#stopped.set(track, { ...known, liveIn: lane, confirmed: lane.confirmed });
      }
    }
  }

  /** Clears a view's failure: the view continues, or its generation was retired. */
  resumed(track: ViewTrack): void {
    if (this.#stopped.delete(track)) this.#failures.succeeded({ kind: "view", name: this.#nameOf(track) });
  }
}
