import { Temporal } from "temporal-polyfill";
import type { EpochMs } from "../log/position.ts";
import { finish, STEP, type Work } from "./work.ts";

/** Grains whose buckets differ in length, because they follow a calendar in a time zone. Weeks begin on Monday. */
export type CalendarUnit = "day" | "week" | "month" | "quarter" | "year";

export interface CalendarGrain {
  /** "all": one bucket, which is the whole range. */
  readonly unit: CalendarUnit | "all";
  /** IANA name, such as Europe/Berlin. */
  readonly zone: string;
}

const NAMES: ReadonlyMap<string, CalendarUnit> = new Map([
  ...(["day", "week", "month", "quarter", "year"] as const).map((unit) => [unit, unit] as const),
  ...([
    ["d", "day"],
    ["w", "week"],
    ["mo", "month"],
    ["q", "quarter"],
    ["y", "year"],
  ] as const),
]);

/** Returns the unit of "1d", "week", "1 month", "1q", "1y" or "all". Null for any other text. */
export function parseCalendarUnit(text: string): CalendarGrain["unit"] | null {
  if (/^\s*all\s*$/i.test(text)) return "all";
  const name = /^\s*(?:1\s*)?([a-z]+)\s*$/i.exec(text)?.[1]?.toLowerCase();
  return name === undefined ? null : (NAMES.get(name) ?? null);
}

/** Returns the zone in its usual spelling ("europe/berlin" -> "Europe/Berlin"). Null for an unknown name. */
export function parseZone(text: string): string | null {
  try {
    // An offset such as +02:00 has no daylight saving, so it is not a time zone here.
    return /^[A-Za-z]/.test(text) ? new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone : null;
  } catch {
    return null;
  }
}

const DAY_MS = 86_400_000;
const MOST_STARTS = 20_000;

/** The most starts that are kept. The least recently used are dropped first. */
const MOST_KEPT_STARTS = 200_000;
const kept = new Map<string, readonly EpochMs[]>();
let keptStarts = 0;

/**
 * Returns the starts of all buckets that touch `[fromMs, toMs)`, ascending, in epoch milliseconds. They are kept, so
 * the same range is computed once. Throws RangeError when there are more than 20,000.
 */
export function* calendarWork({ unit, zone }: CalendarGrain, fromMs: EpochMs, toMs: EpochMs): Work<readonly EpochMs[]> {
  if (unit === "all") return [fromMs];
  const key = `${unit} ${zone} ${fromMs} ${toMs}`;
  const held = kept.get(key);
  if (held !== undefined) {
    kept.delete(key);
    kept.set(key, held);
    return held;
  }
  const starts = yield* computeStarts(unit, zone, { fromMs, toMs });
  // Two callers may have computed the same starts.
  if (!kept.has(key)) keptStarts += starts.length;
  kept.set(key, starts);
  for (const [oldest, { length }] of kept) {
    if (keptStarts <= MOST_KEPT_STARTS || oldest === key) break;
    kept.delete(oldest);
    keptStarts -= length;
  }
  return starts;
}

/** Runs `calendarWork` to its end at once. */
export function calendarStarts(grain: CalendarGrain, fromMs: EpochMs, toMs: EpochMs): readonly EpochMs[] {
  return finish(calendarWork(grain, fromMs, toMs));
}

function* computeStarts(
  unit: CalendarUnit,
  zone: string,
  { fromMs, toMs }: { readonly fromMs: EpochMs; readonly toMs: EpochMs },
): Work<EpochMs[]> {
  const starts: EpochMs[] = [];
  const first = firstDate(Temporal.Instant.fromEpochMilliseconds(fromMs).toZonedDateTimeISO(zone).toPlainDate(), unit);
  let offset = offsetAt(Temporal.PlainDate.from(first).toZonedDateTime(zone));
  for (const midnightMs of midnights(first, unit)) {
    // The start is the first instant of the local day. Where clocks skip midnight, it is the time of the skip, on the
    // first day too.
    let startMs = Math.max(midnightMs - offset.ms, offset.fromMs);
    while (startMs >= offset.untilMs) {
      offset = offsetAt(Temporal.Instant.fromEpochMilliseconds(offset.untilMs).toZonedDateTimeISO(zone));
      startMs = Math.max(midnightMs - offset.ms, offset.fromMs);
      yield STEP;
    }
    if (startMs >= toMs && starts.length > 0) break;
    if (starts.length === MOST_STARTS)
      throw new RangeError(`there are more than ${MOST_STARTS} of a ${unit} between from and to`);
    // A zone that crossed the date line skipped this day: its start would be that of the next day.
    if (startMs !== starts.at(-1)) starts.push(startMs);
  }
  return starts;
}

/** How far local time is ahead of UTC, from `fromMs` to before `untilMs`. */
interface Offset {
  readonly ms: number;
  readonly fromMs: EpochMs;
  readonly untilMs: EpochMs;
}

function offsetAt(time: Temporal.ZonedDateTime): Offset {
  const untilMs = time.getTimeZoneTransition("next")?.epochMilliseconds ?? Number.POSITIVE_INFINITY;
  return { ms: time.offsetNanoseconds / 1e6, fromMs: time.epochMilliseconds, untilMs };
}

/** Yields the midnights of successive buckets from a date on, as if local time were UTC. Endless. */
function* midnights(first: Temporal.PlainDate, unit: CalendarUnit): Generator<EpochMs> {
  const months = MONTHS[unit];
  const { year, month, day } = first;
  // Date.UTC would take the year 50 for 1950.
  const midnight = (afterMonths: number, date: number) =>
    new Date(0).setUTCFullYear(year, month - 1 + afterMonths, date);
  if (months === undefined)
    for (let step = 0; ; step++) yield midnight(0, day) + step * (unit === "week" ? 7 : 1) * DAY_MS;
  for (let step = 0; ; step++) yield midnight(step * months, 1);
}

const MONTHS: Readonly<Partial<Record<CalendarUnit, number>>> = { month: 1, quarter: 3, year: 12 };

function firstDate(date: Temporal.PlainDate, unit: CalendarUnit): Temporal.PlainDate {
  switch (unit) {
    case "day":
      return date;
    case "week":
      return date.subtract({ days: date.dayOfWeek - 1 });
    case "month":
      return date.with({ day: 1 });
    case "quarter":
      return date.with({ day: 1, month: date.month - ((date.month - 1) % 3) });
    case "year":
      return date.with({ day: 1, month: 1 });
  }
}

/** Returns the last of ascending `starts` that is not after `time`. */
export function startOf(starts: readonly EpochMs[], time: EpochMs): EpochMs {
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= time) low = middle + 1;
    else high = middle;
  }
  return starts[low - 1] ?? time;
}

/** Returns ISO 8601 with the zone's offset at that time: 2026-07-01T00:00:00+02:00. */
export function isoInZone(timeMs: EpochMs, zone: string): string {
  return Temporal.Instant.fromEpochMilliseconds(timeMs).toZonedDateTimeISO(zone).toString({ timeZoneName: "never" });
}
