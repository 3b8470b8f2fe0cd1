import { expect, test } from "vitest";
import type { Stream } from "../../../core/contract/stream.ts";
import { joinHistories } from "../../../serving/tables/joined-history.ts";

/** The order of the events of several logs, some of which have no time: tombstones. */

type Part = Parameters<typeof joinHistories>[0][number];

/** Events of one table, by their day in January 2026; null is a tombstone. */
function part(name: string, days: readonly (number | null)[]): Part {
  const events = days.map((day, offset) => ({
    verdict: "counted",
    topic: name,
    partition: 0,
    offset: String(offset),
    event: { at: day === null ? null : new Date(Date.UTC(2026, 0, day)).toISOString() },
  }));
  const history = { key: ["k"], events, truncated: false, applied: {} };
  return { name, stream: { eventTime: "at" } as Stream, history } as unknown as Part;
}

const shown = (parts: readonly Part[], limit = 100) =>
  joinHistories(parts, limit).events.map(({ of, event }) => {
    const time = event.at as string | null;
    return `${of}${time === null ? "-" : Number(time.slice(8, 10))}`;
  });

test("a tombstone stands behind the event before it in its own log, whatever other logs have", () => {
  const parts = [part("a", [10, null]), part("b", [5, 20])];
  expect(shown(parts)).toEqual(["b5", "a10", "a-", "b20"]);
  expect(shown(parts.toReversed())).toEqual(["b5", "a10", "a-", "b20"]);
  expect(shown(parts, 2)).toEqual(["a-", "b20"]);
});

test("tombstones before all events of their log are the first, in the order of the tables", () => {
  const parts = [part("a", [3, null, null, 7]), part("b", [null, 4]), part("c", [null, null])];
  expect(shown(parts)).toEqual(["b-", "c-", "c-", "a3", "a-", "a-", "b4", "a7"]);
});
