import { z } from "zod";
import type { Stream } from "../../core/contract/stream.ts";
import { cut, list } from "../../core/json-parts.ts";
import { KeyEvent, type KeyHistory } from "../proof/key-history.ts";

/** One event of a key in the log of one of the joined tables. */
const JoinedEvent = KeyEvent.extend({ of: z.string().describe("the table's name in the definition") });
type JoinedEvent = z.infer<typeof JoinedEvent>;

const JoinedEvents = z.object({
  events: list(JoinedEvent).describe("by event time, the newest ones"),
  truncated: z.boolean(),
  applied: z.record(z.string(), cut).describe("by the table's name in the definition"),
});
type JoinedEvents = z.infer<typeof JoinedEvents>;

/** The answer of GET /history/:table for a joined table. */
export const JoinedHistory = JoinedEvents.extend({ table: z.string(), key: list(z.string()) });
export type JoinedHistory = z.infer<typeof JoinedHistory>;

interface Part {
  readonly name: string;
  readonly stream: Stream;
  readonly history: KeyHistory;
}

/**
 * Merges the events of one key from several logs, by event time: positions of different topics have no order. Events
 * with the same time are in the order of the tables; events of one table are in the order of its log. A tombstone has
 * no time and stays behind the event before it in its log. If there are more than `limit`, returns the last ones.
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

/**
 * Returns the events of one log with their times in milliseconds. Events before the first one with a time get
 * -Infinity.
 */
function timedEvents({ name, stream, history }: Part): { timeMs: number; event: JoinedEvent }[] {
  let timeMs = Number.NEGATIVE_INFINITY;
  return history.events.map((event) => {
    const ownMs = Date.parse(String(event.event[stream.eventTime]));
    if (!Number.isNaN(ownMs)) timeMs = ownMs;
    return { timeMs, event: { of: name, ...event } };
  });
}

/** Does not subtract: -Infinity minus -Infinity is NaN. */
function compareTimes(a: number, b: number): number {
  if (a < b) return -1;
  return a > b ? 1 : 0;
}
