import { isTidelineError, type TidelineError } from "../../core/errors.ts";
import { cutText, type EpochMs } from "../../core/log/position.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { liveStateUnreadable } from "../../store/redis/unreadable-state.ts";
import type { ViewStatus, ViewStatuses } from "../read/live/view-status.ts";

export interface ViewOverview {
  readonly definition: Definition;
  /** Null if nothing is published yet, or if the newest version cannot be read. */
  readonly status: ViewStatus | null;
  /** The error of what cannot be read: the newest version (ARCHIVE_DAMAGED) or live state (LIVE_STATE_UNREADABLE). */
  readonly damage?: TidelineError;
}

/** The applied positions of a generation when they were last read, and since when this process has seen them. */
interface Seen {
  readonly applied: string;
  readonly sinceMs: EpochMs | null;
}

/**
 * When the numbers of views last changed. That is when this process saw the applied position move, or when the newest
 * version was published, whichever is later. The times are only exact to about a minute, because views are refreshed
 * once a minute.
 */
export class Changes {
  readonly #seen = new Map<string, Seen>();

  /**
   * Records how far a view is. Returns when it last changed; null if that is unknown or if there are no records yet.
   */
  observe({ definition, status }: ViewOverview, nowMs: EpochMs): EpochMs | null {
    if (status === null) return null;
    const { manifest } = status;
    const applied = cutText(status.applied);
    const before = this.#seen.get(definition.generation);
    const moved = before !== undefined && before.applied !== applied;
    const sinceMs = moved ? nowMs : (before?.sinceMs ?? null);
    this.#seen.set(definition.generation, { applied, sinceMs });
    const publishedMs = manifest.version > 0 ? manifest.createdAtMs : null;
    return sinceMs === null || publishedMs === null ? (sinceMs ?? publishedMs) : Math.max(sinceMs, publishedMs);
  }
}

/**
 * Returns the status of every view. If a view's newest version or live state cannot be read, only this view has a
 * problem.
 */
export function viewOverviews(statuses: ViewStatuses, definitions: Iterable<Definition>): Promise<ViewOverview[]> {
  return Promise.all(
    [...definitions].map(async (definition) => {
      try {
        const status = await statuses.find(definition);
        const isUnreadable = status.missing?.code === "LIVE_STATE_UNREADABLE";
        return { definition, status, ...(isUnreadable ? { damage: liveStateUnreadable(definition.generation) } : {}) };
      } catch (error) {
        if (isTidelineError(error, "NOT_READY")) return { definition, status: null };
        if (isTidelineError(error, "ARCHIVE_DAMAGED")) return { definition, status: null, damage: error };
        throw error;
      }
    }),
  );
}
