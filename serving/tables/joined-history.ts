import type { Stream } from "../../core/contract/stream.ts";
import type { CutJson } from "../../core/log/position.ts";
import type { KeyEvent, KeyHistory } from "../proof/key-history.ts";

/** One event of a key in the log of one of the tables that are joined. */
export interface JoinedEvent extends KeyEvent {
  /** The table's name in the definition. */
  readonly of: string;
}

export interface JoinedEvents {
  readonly events: readonly JoinedEvent[];
  readonly truncated: boolean;
  /** By the table's name in the definition. */
  readonly applied: Readonly<Record<string, CutJson>>;
}

export interface JoinedHistory extends JoinedEvents {
  readonly table: string;
  readonly key: readonly string[];
}

interface Part {
  readonly name: string;
  readonly stream: Stream;
  readonly history: KeyHistory;
}

/**
 * The events of one key in several logs, by event time: positions of different topics have no order. Events of one time
 * are in the order of the tables, and of one table in the order of its log. A tombstone has no time and stands behind
 * the event before it in its log. Of more than `limit` the last ones.
 */
export function joinHistories(parts: readonly Part[], limit: number): JoinedEvents {
  const events = parts.flatMap(timedEvents);
  const sorted = events.toSorted((a, b) => compareTimes(a.timeMs, b.timeMs)).map(({ event }) => event);
  return {
    events: sorted.slice(-limit),
    truncated: sorted.length > limit || parts.some(({ history }) => history.truncated),
    applied: Object.fromEntries(parts.map(({ name, history }) => [name, history.applied])),
  };
}

/** The events of one log with their times in milliseconds: -Infinity for those without one that are its first. */
function timedEvents({ name, stream, history }: Part): { timeMs: number; event: JoinedEvent }[] {
  let timeMs = Number.NEGATIVE_INFINITY;
  return history.events.map((event) => {
    const ownMs = Date.parse(String(event.event[stream.eventTime]));
    if (!Number.isNaN(ownMs)) timeMs = ownMs;
    return { timeMs, event: { of: name, ...event } };
  });
}

/** Not by subtraction: -Infinity less itself is not a number. */
function compareTimes(a: number, b: number): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}
