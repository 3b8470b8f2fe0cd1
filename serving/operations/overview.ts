import { isTidelineError, type TidelineError } from "../../core/errors.ts";
import { cutText, type EpochMs } from "../../core/log/position.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { liveStateUnreadable } from "../../store/redis/unreadable-state.ts";
import type { ViewStatus, ViewStatuses } from "../read/live/view-status.ts";

export interface ViewOverview {
  readonly definition: Definition;
  /** Null when nothing is published yet, or the newest version cannot be read. */
  readonly status: ViewStatus | null;
  /** What cannot be read: the newest version (ARCHIVE_DAMAGED), or live state (LIVE_STATE_UNREADABLE). */
  readonly damage?: TidelineError;
}

/** Up to where a generation was applied when it was last looked at, and since when as far as this process knows. */
interface Seen {
  readonly applied: string;
  readonly sinceMs: EpochMs | null;
}

/**
 * When the numbers of views last changed: when this process saw the applied position move, or when the newest version
 * was published, whichever is later. Both are known only to about a minute, which is how often views are refreshed.
 */
export class Changes {
  readonly #seen = new Map<string, Seen>();

  /**
   * Notes how far a view is; returns when it last changed, or null when that is not known or nothing has come in yet.
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

/** The status of every view. A view whose newest version or live state cannot be read is a problem of it alone. */
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
