import fc from "fast-check";
import { expect, test } from "vitest";
import { dueSteps } from "../../ingest/simulate/run.ts";

test("steps are made once each, in their order, none before its time and none more than ten seconds after it", () => {
  const looks = fc.array(fc.integer({ min: 0, max: 60_000 }), { maxLength: 60 });
  fc.assert(
    fc.property(looks, fc.double({ min: 0.05, max: 5_000, noNaN: true }), (gaps, rate) => {
      let [elapsedMs, next] = [0, 0];
      for (const gap of gaps) {
        elapsedMs += gap;
        const { first, size } = dueSteps({ next, rate, elapsedMs });
        expect(first).toBeGreaterThanOrEqual(next);
        if (size <= 0) continue;
        expect(((first + size) * 1_000) / rate).toBeLessThanOrEqual(elapsedMs + 1e-6);
        expect((first * 1_000) / rate).toBeGreaterThanOrEqual(elapsedMs - 10_000 - 2_000 / rate);
        next = first + size;
      }
    }),
  );
});

test("after an outage event times are those of the clock, and a stall of some seconds loses nothing", () => {
  const rate = 100;
  expect(dueSteps({ next: 0, rate, elapsedMs: 20 })).toEqual({ first: 0, size: 2 });
  // A stall of five seconds: caught up in pieces of a second.
  expect(dueSteps({ next: 2, rate, elapsedMs: 5_020 })).toEqual({ first: 2, size: 100 });
  // Five minutes without Kafka: the events of the last ten seconds are sent.
  expect(dueSteps({ next: 502, rate, elapsedMs: 305_000 })).toEqual({ first: 29_500, size: 100 });
});
