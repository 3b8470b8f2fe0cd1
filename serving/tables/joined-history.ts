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
 * are in the order of the tables, and of one table in the order of its log. Of more than `limit` the last ones.
 */
export function joinHistories(parts: readonly Part[], limit: number): JoinedEvents {
  const events = parts.flatMap(({ name, stream, history }) =>
    history.events.map((event) => ({ timeMs: timeOf(event, stream), event: { of: name, ...event } })),
  );
  const sorted = events.toSorted((a, b) => a.timeMs - b.timeMs).map(({ event }) => event);
  return {
    events: sorted.slice(-limit),
    truncated: sorted.length > limit || parts.some(({ history }) => history.truncated),
    applied: Object.fromEntries(parts.map(({ name, history }) => [name, history.applied])),
  };
}

function timeOf({ event }: KeyEvent, { eventTime }: Stream): number {
  return Date.parse(String(event[eventTime]));
}
