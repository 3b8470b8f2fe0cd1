import { expect, test } from "vitest";
import { isItsTurn } from "../../activities/worker/settlement-turn.ts";

test.each([
  [0, 0, true],
  [1, 0, true],
  [2, 0, false],
  [2, 9_999, false],
  [9, 9_999, false],
  [2, 10_000, true],
  [9, 60_000, true],
])("with %i settlements under way, a stream that has been due for %i ms begins: %s", (underWay, waitedMs, begins) => {
  expect(isItsTurn({ underWay, waitedMs })).toBe(begins);
});
