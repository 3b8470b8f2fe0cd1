import { setTimeout as delay } from "node:timers/promises";
import { TidelineError } from "../../core/errors.ts";
import { type Cut, cutReached, cutText } from "../../core/log/position.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { overloaded } from "../common/refusals.ts";
import type { ViewStatus, ViewStatuses } from "./live/view-status.ts";

const POLL_MS = 20;
/** The most requests that may wait for positions at once. Each reads Redis now and then. */
const MAX_WAITING = 500;

/** Lets requests wait until the live state has reached a position. */
export class PositionWaits {
  readonly #statuses: ViewStatuses;
  #waiting = 0;

  constructor(statuses: ViewStatuses) {
    this.#statuses = statuses;
  }

  /**
   * Returns the result of `read` once its positions have reached `min`. Throws NOT_REACHED with the positions if that
   * takes longer than `waitMs`, TOO_MANY_REQUESTS when too many wait.
   */
  async reach<T extends Pick<ViewStatus, "applied">>(
    definition: Definition,
    { min, waitMs }: { min: Cut; waitMs: number },
    signal: AbortSignal,
    read: () => Promise<T>,
  ): Promise<T> {
    if (this.#waiting >= MAX_WAITING) throw overloaded("too many requests wait for positions already");
    this.#waiting += 1;
    const deadlineMs = performance.now() + waitMs;
    try {
      for (let pollMs = POLL_MS; ; pollMs = Math.min(pollMs * 1.5, 5 * POLL_MS)) {
        let { applied } = await this.#statuses.find(definition);
        if (cutReached(applied, min)) {
          // Redis may have been lost in between, so the reached position is read again.
          const reading = await read();
          if (cutReached(reading.applied, min)) return reading;
          applied = reading.applied;
        }
        if (performance.now() >= deadlineMs) throw behind(applied, min, waitMs);
        await delay(pollMs, undefined, { signal }).catch(() => {
          throw notReached("the client has left", "");
        });
      }
    } finally {
      this.#waiting -= 1;
    }
  }
}

function behind(applied: Cut, min: Cut, waitMs: number): TidelineError {
  const ends = `${cutText(applied)}, and is to include ${cutText(min)}`;
  return notReached(`after ${waitMs} ms the answer would still be at ${ends}`, "ask again, or with a longer wait");
}

function notReached(message: string, hint: string): TidelineError {
  return new TidelineError("NOT_REACHED", message, hint);
}
