import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { view } from "../../../core/definition/view.ts";
import { plainIsCut } from "../../../core/proof/plain-cut.ts";
import { filterAllows, filterValue } from "../../../core/query/filter.ts";
import { cutBuckets, partialColumn } from "../../../core/query/partial.ts";
import { bucketStarts, planQuery, type Query } from "../../../core/query/query.ts";
import { parseUrlTime } from "../../../core/time.ts";
import { parseParameters } from "../../../serving/request/parameters.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { everything, ticks } from "../../fixtures/events/views.ts";

/** How questions are read and answers are marked: pure functions, without a server. */

function planned(parameters: Record<string, string>): Query {
  const plan = planQuery(everything, parameters);
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.query;
}

describe("a filter's value", () => {
  /** What the documents tell a client to write. */
  const written = (value: string | null) =>
    value === null ? "null" : /^("*)null\1$/.test(value) ? `"${value}"` : value;
  const text = fc.oneof(
    anyText(),
    fc.constantFrom("null", '"null"', '""null""', '"null', 'null"', '"', '""', "", "NULL", " null", '"a"'),
  );

  test("is read back as it was written, whatever it is, and only it passes", () => {
    fc.assert(
      fc.property(fc.option(text), fc.option(text), (value, other) => {
        expect(filterValue(written(value))).toBe(value);
        expect(filterAllows([filterValue(written(value))], other)).toBe(value === other);
      }),
    );
  });

  test("is the text itself, whatever it is, but for null in quotes", () => {
    fc.assert(fc.property(text, (value) => value.includes("null") || filterValue(value) === value));
  });

  test("may have control characters, which nothing else may", () => {
    const { values, problems } = parseParameters("where[a]=x%09y%0A%00&prefix=%0D&key=k%01&from=%09&by%0A=a");
    expect(values).toMatchObject({ "where[a]": "x\ty\n\u0000", prefix: "\r", key: "k\u0001" });
    expect(problems.map(({ parameter }) => parameter)).toEqual(["from", "by%0A=a"]);
  });
});

test("a plus sign that arrives as a space is the offset's, and no other space is", () => {
  const iso = (text: string) => {
    const time = parseUrlTime(text);
    return time === null ? null : new Date(time).toISOString();
  };
  expect(
    ["2026-01-01T00:00:00 01:00", "2026-01-01 00:00:00 0130", "2026-01-01T00:00 01", "2026-01-01 01:00"].map(iso),
  ).toEqual([
    "2025-12-31T23:00:00.000Z",
    "2025-12-31T22:30:00.000Z",
    "2025-12-31T23:00:00.000Z",
    "2026-01-01T01:00:00.000Z",
  ]);
  expect(["2026-01-01  01:00", "2026-01-01T00:00:00  01:00", "2026-01-01T00 01:00"].map(iso)).toEqual([
    null,
    null,
    null,
  ]);
});

describe("a bucket that the range cuts", () => {
  const MINUTE = 60_000;
  const from = Date.parse("2026-01-01T00:00:00Z");

  test("is found as a proof finds it, whatever the buckets, zone and range", () => {
    const every = fc.constantFrom("1m", "7m", "1h", "31d", "1d", "1w", "1mo", "1q", "1y", "all");
    const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York");
    const asked = fc.record({
      every,
      zone,
      start: fc.integer({ min: 0, max: 700_000 }),
      length: fc.oneof(fc.integer({ min: 1, max: 700_000 }), fc.constantFrom(60, 1_440, 44_640)),
      sliding: fc.boolean(),
      isOpen: fc.boolean(),
      later: fc.boolean(),
    });
    fc.assert(
      fc.property(asked, ({ every, zone, start, length, sliding, isOpen, later }) => {
        const fromMs = from + start * MINUTE;
        const toMs = fromMs + length * MINUTE;
        const window =
          sliding && /^\d+[mh]$/.test(every) ? { window: every.replace(/^\d+/, (n) => `${Number(n) * 3}`) } : {};
        const query = planned({ every, zone, ...window, from: `${fromMs}`, ...(isOpen ? {} : { to: `${toMs}` }) });
        const range = { fromMs, toMs, laterMs: later ? toMs + MINUTE : null };
        const starts =
          bucketStarts(everything, query, range) ??
          [fromMs, toMs - 1, (fromMs + toMs) / 2].map((time) => Math.floor(time / query.everyMs) * query.everyMs);
        const isCut = cutBuckets(everything, query, range);
        for (const start of starts)
          expect([start, isCut(start)]).toEqual([start, plainIsCut(everything, query, range, start)]);
      }),
      { numRuns: 100 },
    );
  });

  test("is both ends of 31 days that begin in the middle of one", () => {
    const query = planned({ every: "31d", from: "2001-03-01", to: "2001-04-01" });
    const isCut = cutBuckets(everything, query, { fromMs: query.fromMs ?? 0, toMs: query.toMs ?? 0 });
    const buckets = ["2001-02-24", "2001-03-27"].map((date) => Date.parse(date));
    expect(buckets.map(isCut)).toEqual([true, true]);
    const months = planned({ every: "1mo", from: "2001-03-01", to: "2001-04-01" });
    const isMonthCut = cutBuckets(everything, months, { fromMs: months.fromMs ?? 0, toMs: months.toMs ?? 0 });
    expect(isMonthCut(Date.parse("2001-03-01"))).toBe(false);
  });

  test("is marked under another name where the view has a field of that name", () => {
    const { measures, ...rest } = everything;
    const [first] = Object.values(measures);
    if (first === undefined) throw new Error("there is no measure");
    const own = view("own", { stream: ticks, every: "1 minute", measures: { partial: first } });
    expect([partialColumn({ ...rest, measures }), partialColumn(own)]).toEqual(["partial", "bucket.partial"]);
  });
});
