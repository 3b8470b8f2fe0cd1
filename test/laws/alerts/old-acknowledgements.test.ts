import { expect, test } from "vitest";
import { acknowledgedEvent, alertOf, openedEvent } from "../../../core/alerts/alert.ts";
import { AlertStates } from "../../../core/alerts/alert-states.ts";
import { heartRate } from "../../../systems/patients/rules/heart-rate.ts";

const opened = (key: string) =>
  openedEvent(alertOf({ rule: heartRate, partition: 0, offset: 0n, atMs: 1_000, eventId: key, key, says: null }));
const acknowledged = (key: string, author: string) =>
  acknowledgedEvent({ id: opened(key).subject, rule: heartRate.name }, { atMs: 5, author });
const written = (event: ReturnType<typeof opened>) => ({ event, writtenAtMs: 9 });

test("that somebody looks after an alert is known when newer alerts have taken its place", () => {
  const states = new AlertStates(3);
  states.take(written(opened("a")));
  states.take(written(acknowledged("a", "ann")));
  for (const key of ["b", "c", "d", "e"]) states.take(written(opened(key)));
  expect(states.get(opened("a").subject)).toBeUndefined();
  expect(states.acknowledgementOf(opened("a").subject)).toEqual({ atMs: 5, author: "ann" });
  expect(states.acknowledgementOf(opened("e").subject)).toBeNull();
});

test("an acknowledgement that is read before the alert counts, and the first one stays", () => {
  const states = new AlertStates(3);
  expect(states.take(written(acknowledged("a", "ann")))).toBeNull();
  expect(states.take(written(opened("a")))).toMatchObject({ acknowledged: { author: "ann" } });
  expect(states.take(written(acknowledged("a", "bob")))).toBeNull();
  expect(states.get(opened("a").subject)?.acknowledged?.author).toBe("ann");
});

test("only the newest acknowledgements are remembered, up to a number", () => {
  const states = new AlertStates(2);
  for (let index = 0; index < 25; index++) states.take(written(acknowledged(`a${index}`, "ann")));
  const known = Array.from({ length: 25 }, (_, index) => states.acknowledgementOf(opened(`a${index}`).subject));
  expect(known.map((one) => one !== null)).toEqual(Array.from({ length: 25 }, (_, index) => index >= 5));
});
