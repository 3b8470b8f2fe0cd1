import fc from "fast-check";
import { Temporal } from "temporal-polyfill";
import { expect, test } from "vitest";
import { type CalendarGrain, calendarStarts, calendarWork } from "../../../core/query/calendar.ts";
import { nightlyOr } from "../../tiers.ts";

const ZONES = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "America/Sao_Paulo",
  "America/Havana",
  "Africa/Casablanca",
  "Africa/Cairo",
  "Asia/Gaza",
  "Asia/Kathmandu",
  "Asia/Manila",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Pacific/Kwajalein",
  "Antarctica/Troll",
];
const UNITS = ["day", "week", "month", "quarter", "year"] as const;

/** The definition: the first instant of each local date, one date after the other. */
function plainStarts({ unit, zone }: CalendarGrain, fromMs: number, toMs: number): number[] {
  const local = Temporal.Instant.fromEpochMilliseconds(fromMs).toZonedDateTimeISO(zone).toPlainDate();
  const starts: number[] = [];
  let date = local;
  if (unit === "week") date = local.subtract({ days: local.dayOfWeek - 1 });
  if (unit === "month") date = local.with({ day: 1 });
  if (unit === "quarter") date = local.with({ day: 1, month: local.month - ((local.month - 1) % 3) });
  if (unit === "year") date = local.with({ day: 1, month: 1 });
  for (;;) {
    const startMs = date.toZonedDateTime(zone).epochMilliseconds;
    if (startMs >= toMs && starts.length > 0) return starts;
    if (startMs !== starts.at(-1)) starts.push(startMs);
    date = date.add(unit === "quarter" ? { months: 3 } : { [`${unit}s`]: 1 });
  }
}

test("a calendar's buckets begin with the first instant of their local dates, in every zone and century", () => {
  const hours = fc.integer({ min: Date.parse("1850-01-01") / 3_600_000, max: Date.parse("2090-01-01") / 3_600_000 });
  fc.assert(
    fc.property(
      fc.constantFrom(...UNITS),
      fc.constantFrom(...ZONES),
      hours,
      fc.nat(24 * 800),
      (unit, zone, at, length) => {
        const [fromMs, toMs] = [at * 3_600_000, (at + length) * 3_600_000];
        expect(calendarStarts({ unit, zone }, fromMs, toMs)).toEqual(plainStarts({ unit, zone }, fromMs, toMs));
      },
    ),
    { numRuns: nightlyOr(300, 150), examples: [["day", "Asia/Kathmandu", 140_251, 0]] },
  );
});

test("the first bucket begins when clocks skip its midnight, as all others do", () => {
  // Clocks went from 23:59:59.999 of the day before to 00:15 and to 01:00.
  for (const [zone, at] of [
    ["Asia/Kathmandu", "1985-12-31T18:30:00Z"],
    ["America/Sao_Paulo", "2017-10-15T03:00:00Z"],
  ] as const)
    for (const fromMs of [Date.parse(at), Date.parse(at) + 7_200_000]) {
      const [first] = calendarStarts({ unit: "day", zone }, fromMs, fromMs + 86_400_000);
      expect(first).toBe(Date.parse(at));
    }
});

test("a date that a zone skipped makes no bucket", () => {
  const starts = calendarStarts(
    { unit: "day", zone: "Pacific/Apia" },
    Date.parse("2011-12-29"),
    Date.parse("2012-01-02"),
  );
  expect(starts.length).toBe(new Set(starts).size);
});

test("the year 50 is not 1950", () => {
  const fromMs = Date.parse("0050-03-01T00:00:00Z");
  const [start] = calendarStarts({ unit: "year", zone: "UTC" }, fromMs, fromMs + 1);
  expect(new Date(start ?? 0).toISOString()).toBe("0050-01-01T00:00:00.000Z");
});

test("the same range computed twice at once takes the room of one", () => {
  const days = (year: number): [number, number] => [Date.parse(`${year}-01-01`), Date.parse(`${year + 40}-01-01`)];
  const grain = { unit: "day", zone: "Europe/Berlin" } as const;
  for (let year = 1950; year < 1970; year++) {
    const both = [calendarWork(grain, ...days(year)), calendarWork(grain, ...days(year))];
    while (both.filter((work) => !work.next().done).length > 0);
  }
  calendarStarts(grain, ...days(1980));
  calendarStarts(grain, ...days(1981));
  expect([...calendarWork(grain, ...days(1980))]).toEqual([]);
});

test("fifty years of days are computed once", () => {
  const [fromMs, toMs] = [Date.parse("1971-01-01"), Date.parse("2021-01-01")];
  const grain = { unit: "day", zone: "Europe/Vienna" } as const;
  const steps = () => [...calendarWork(grain, fromMs, toMs)].length;
  expect(steps()).toBeGreaterThan(50);
  expect(steps()).toBe(0);
  expect(calendarStarts(grain, fromMs, toMs)).toHaveLength(18_264);
});
