import fc from "fast-check";
import { expect, test } from "vitest";
import {
  counted,
  current,
  type Failure,
  type FailureLog,
  type FailureReport,
  failed,
  NO_FAILURES,
  problemsIn,
  sentenceOf,
  succeeded,
} from "../../../core/failures.ts";

const lane = (message: string, name = "orders"): FailureReport => ({
  kind: "lane",
  name,
  views: ["revenue"],
  code: "UNEXPECTED",
  message,
  hint: "Look.",
});

const after = (...messages: (string | null)[]): FailureLog =>
  messages.reduce(
    (log, message, index) =>
      message === null ? succeeded(log, { kind: "lane", name: "orders" }) : failed(log, lane(message), index * 1_000),
    NO_FAILURES,
  );

const names = (log: FailureLog) => problemsIn(log).map(({ name }) => name);

test("three failures in a row for the same reason are a problem, and it says since when", () => {
  expect(problemsIn(after("broken", "broken"))).toEqual([]);
  expect(problemsIn(after("broken", "broken", "broken"))).toEqual([
    { ...lane("broken"), failures: 3, sinceMs: 0, atMs: 2_000 },
  ]);
});

test("numbers and ids in a message are no other reason", () => {
  expect(names(after("position 17 of 0af3-77", "position 18 of 9bc1-02", "position 5 of 1d"))).toEqual(["orders"]);
});

test("another reason begins a new count; ten failures in a row are a problem whatever they say", () => {
  expect(names(after("one", "one", "other"))).toEqual([]);
  const [problem] = problemsIn(after("one", "one", "other", "other", "other"));
  expect(problem).toMatchObject({ message: "other", failures: 3, sinceMs: 2_000 });
  expect(names(after(..."ababababa"))).toEqual([]);
  expect(names(after(..."ababababab"))).toEqual(["orders"]);
});

test("a success ends it, and that of something else does not", () => {
  const broken = after("broken", "broken", "broken");
  expect(names(succeeded(broken, { kind: "lane", name: "orders" }))).toEqual([]);
  expect(names(succeeded(broken, { kind: "lane", name: "flights" }))).toEqual(["orders"]);
  expect(names(succeeded(broken, { kind: "view", name: "orders" }))).toEqual(["orders"]);
});

test("whatever happens to others, a thing is a problem exactly when its last three results are failures for one reason, or its last ten any", () => {
  const event = fc.record({
    name: fc.constantFrom("orders", "flights"),
    result: fc.constantFrom("fine", "fine", "one", "one", "one", "two"),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      let log = NO_FAILURES;
      events.forEach(({ name, result }, index) => {
        log = result === "fine" ? succeeded(log, { kind: "lane", name }) : failed(log, lane(result, name), index);
      });
      const expected = ["flights", "orders"].filter((name) => {
        const row = events.filter((one) => one.name === name).map(({ result }) => result);
        const last = row.slice(row.lastIndexOf("fine") + 1);
        return last.length >= 10 || (last.length >= 3 && new Set(last.slice(-3)).size === 1);
      });
      expect(names(log)).toEqual(expected);
    }),
  );
});

test("what was stored and is not renewed for two minutes is over; of two that tell the same the newest holds", () => {
  const stored = (atMs: number, message: string): Failure => ({ ...lane(message), failures: 3, sinceMs: 0, atMs });
  expect(current([stored(0, "old")], 120_000)).toHaveLength(1);
  expect(current([stored(0, "old")], 120_001)).toEqual([]);
  expect(current([stored(1, "new"), stored(0, "old")], 60_000)).toMatchObject([{ message: "new" }]);
});

test("what was counted elsewhere is taken over as it is", () => {
  const found: Failure = { ...lane("broken"), failures: 7, sinceMs: 5, atMs: 9 };
  expect(problemsIn(counted(after("x"), found))).toEqual([found]);
});

test("a problem is one sentence with its reason, cut off where it is too long for people", () => {
  const [problem] = problemsIn(after(...Array<string>(3).fill("x".repeat(5_000))));
  expect(problem?.message).toHaveLength(500);
  const [short] = problemsIn(after("broken", "broken", "broken"));
  expect(short && sentenceOf(short)).toBe(
    "the speed layer fails to read orders since 1970-01-01T00:00:00Z, 3 times in a row: UNEXPECTED: broken",
  );
  expect(short && sentenceOf({ ...short, kind: "reader", name: "orders (rules)" })).toBe(
    "reading orders (rules) fails since 1970-01-01T00:00:00Z, 3 times in a row: UNEXPECTED: broken",
  );
});
