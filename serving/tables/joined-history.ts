import { z } from "zod";
import type { Stream } from "../../core/contract/stream.ts";
import { cut, list } from "../../core/json-parts.ts";
import { KeyEvent, type KeyHistory } from "../proof/key-history.ts";

/** One event of a key in the log of one of the tables that are joined. */
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
