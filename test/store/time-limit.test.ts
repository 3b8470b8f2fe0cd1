import { expect, test } from "vitest";
import { NoAnswerInTime, within, withinOrNull } from "../../store/time-limit.ts";

const never = () => new Promise<never>(() => undefined);

test("work that takes too long is given up; its result and its own error are passed on", async () => {
  await expect(within(1, never)).rejects.toThrow(NoAnswerInTime);
  expect(await withinOrNull(1, never)).toBeNull();
  expect(await Promise.all([within(60_000, async () => 7), withinOrNull(60_000, async () => 7)])).toEqual([7, 7]);
  const failing = async () => {
    throw new Error("away");
  };
  await expect(within(60_000, failing)).rejects.toThrow("away");
  await expect(withinOrNull(60_000, failing)).rejects.toThrow("away");
});

test("work that fails after its time is up fails for nobody", async () => {
  let fail = (_: Error) => {};
  const late = new Promise<never>((_, reject) => {
    fail = reject;
  });
  expect(await withinOrNull(1, () => late)).toBeNull();
  // An error that nobody handles ends the test run.
  fail(new Error("away"));
  await new Promise(setImmediate);
});
