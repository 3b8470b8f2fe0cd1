import { setImmediate as round } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import type { Work } from "../core/query/work.ts";
import { inTurns } from "../serving/common/turns.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test("all long computations together run for one slice in a round of the event loop, however many begin at once", async () => {
  let nowMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  /** Three steps of a millisecond each. */
  function* work(): Work<number> {
    for (let step = 0; step < 3; step++) {
      nowMs += 1;
      yield 1;
    }
    return nowMs;
  }
  const asked = 40;
  let answered = 0;
  const all = Promise.all(
    Array.from({ length: asked }, () =>
      inTurns(work(), null).then(() => {
        answered += 1;
      }),
    ),
  );
  const slices: number[] = [];
  for (let before = 0; answered < asked; before = nowMs) {
    await round();
    slices.push(nowMs - before);
  }
  await all;
  expect(nowMs).toBe(3 * asked);
  // A slice ends with the step in which its time is over. Two of them at most lie between two looks at the clock.
  expect(Math.max(...slices)).toBeLessThanOrEqual(2 * 4 + 1);
});
