import { setImmediate as round } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import type { Work } from "../../core/query/work.ts";
import { inTurns, withAccount } from "../../serving/common/turns.ts";

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

test("every other turn is for the request that has had the least time, and the longest work ends all the same", async () => {
  let nowMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  const ended: string[] = [];
  /** Steps of five milliseconds, each longer than a slice. */
  function* work(steps: number): Work<void> {
    for (let step = 0; step < steps; step++) {
      nowMs += 5;
      yield 1;
    }
  }
  const asked = (name: string, ...steps: readonly number[]) =>
    new Promise<void>((resolve) => {
      withAccount(async () => {
        for (const piece of steps) await inTurns(work(piece), null);
        ended.push(name);
        resolve();
      });
    });
  const long = Array.from({ length: 8 }, (_, number) => asked(`long ${number}`, 20, 20));
  for (let rounds = 0; rounds < 80; rounds++) await round();
  const beganMs = nowMs;
  await asked("short", 3, 3);
  // 8 others had waited before it: in turn it would have had its six steps after 54.
  expect(nowMs - beganMs).toBeLessThanOrEqual(2 * 6 * 5 + 2 * 5);
  await Promise.all(long);
  expect(ended).toHaveLength(9);
});
