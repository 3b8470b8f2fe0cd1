import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { alertOf, openedEvent } from "../../../core/alerts/alert.ts";
import { AlertStates, type ShownAlert, shownAlert } from "../../../core/alerts/alert-states.ts";
import { Attempts } from "../../../deliveries/attempts.ts";
import { heartRate } from "../../../systems/patients/rules/heart-rate.ts";

/** Each look at the clock is a second later than the one before, however slow the machine is. */
beforeEach(() => {
  let nowMs = 0;
  vi.spyOn(Date, "now").mockImplementation(() => (nowMs += 1_000));
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** The second look after the calls began to fail too often finds that they may be tried again. */
const BREAK_MS = 1_500;

/**
 * A receiver that takes some calls and fails others. `true` in `answers` is a call that it takes; later ones are taken.
 */
function receiver(answers: readonly boolean[]) {
  const left = [...answers];
  const taken: string[] = [];
  const send = async ({ id }: { readonly id: string }) => {
    if (left.shift() === false) throw new Error("answered 503");
    taken.push(id);
  };
  return { send, taken };
}

function alertAbout(key: string): ShownAlert {
  const match = { rule: heartRate, partition: 0, offset: 0n, atMs: 1_000, eventId: key, key, says: null };
  const opened = openedEvent(alertOf(match));
  return shownAlert(new AlertStates(0), { id: opened.subject, opened, writtenAtMs: 5, acknowledged: null }, 5);
}

/** Hands `count` alerts over. Returns how often the receiver was left alone, and which alerts it did not take. */
async function handOver(answers: readonly boolean[], count: number) {
  const { send, taken } = receiver(answers);
  const attempts = new Attempts(send, { firstRetryMs: 1, breakMs: BREAK_MS });
  let pauses = 0;
  const failed: string[] = [];
  for (let index = 0; index < count; index++) {
    const alert = alertAbout(`patient-${index}`);
    const reason = await attempts.deliver(
      () => alert,
      AbortSignal.timeout(10_000),
      () => {
        pauses += 1;
      },
    );
    if (reason !== null) failed.push(alert.id);
  }
  return { pauses, failed, taken };
}

const [TAKES, FAILS] = [true, false];

test("a receiver that fails five of ten calls is left alone for a while, one that fails four is not", async () => {
  const five = await handOver([...Array(5).fill(TAKES), ...Array(5).fill(FAILS)], 7);
  expect(five.pauses).toBe(1);
  expect(five.failed).toEqual([alertAbout("patient-5").id]);
  expect(five.taken).toHaveLength(6);
  const four = await handOver([...Array(5).fill(TAKES), ...Array(4).fill(FAILS)], 7);
  expect(four.pauses).toBe(0);
  expect(four.failed).toEqual([alertAbout("patient-5").id]);
});

test("a receiver that fails every other call is left alone again and again, and each alert is taken once", async () => {
  const { pauses, failed, taken } = await handOver(
    Array.from({ length: 40 }, (_, index) => index % 2 === 0),
    14,
  );
  expect(pauses).toBeGreaterThan(1);
  expect(failed).toEqual([]);
  expect(taken).toHaveLength(14);
});
