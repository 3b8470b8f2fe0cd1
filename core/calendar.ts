import { Temporal } from "temporal-polyfill";
import type { EpochMs } from "./position.ts";

/** Grains whose buckets differ in length: they follow a calendar in a time zone. Weeks begin on Monday. */
export type CalendarUnit = "day" | "week" | "month" | "quarter" | "year";

export interface CalendarGrain {
  readonly unit: CalendarUnit;
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

/** "1d", "week", "1 month", "1q", "1y" -> the unit; null when it is none of these. */
export function parseCalendarUnit(text: string): CalendarUnit | null {
  const name = /^\s*(?:1\s*)?([a-z]+)\s*$/i.exec(text)?.[1]?.toLowerCase();
  return name === undefined ? null : (NAMES.get(name) ?? null);
}

/** The zone under its own spelling ("europe/berlin" -> "Europe/Berlin"); null when there is none of this name. */
export function parseZone(text: string): string | null {
  try {
    // An offset such as +02:00 has no daylight saving: it is no zone that people live in.
    return /^[A-Za-z]/.test(text) ? new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone : null;
  } catch {
    return null;
  }
}

const MOST_STARTS = 20_000;

/** The starts of all buckets that touch `[fromMs, toMs)`, ascending, epoch milliseconds. Throws RangeError when they are too many. */
export function calendarStarts({ unit, zone }: CalendarGrain, fromMs: EpochMs, toMs: EpochMs): EpochMs[] {
  const step = unit === "quarter" ? { months: 3 } : { [`${unit}s`]: 1 };
  const starts: EpochMs[] = [];
  // Counted from the first one: a month after the 31st of January and so on is only right from the first of a month.
  let date = firstDate(Temporal.Instant.fromEpochMilliseconds(fromMs).toZonedDateTimeISO(zone).toPlainDate(), unit);
  for (;;) {
    const startMs = date.toZonedDateTime(zone).epochMilliseconds;
    if (startMs >= toMs && starts.length > 0) return starts;
    if (starts.length === MOST_STARTS)
      throw new RangeError(`there are more than ${MOST_STARTS} of a ${unit} between from and to`);
    starts.push(startMs);
    date = date.add(step);
  }
}

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

/** The last of ascending `starts` that is not after `time`. */
export function startOf(starts: readonly EpochMs[], time: EpochMs): EpochMs {
  let [low, high] = [0, starts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= time) low = middle + 1;
    else high = middle;
  }
  return starts[low - 1] ?? time;
}

/** ISO 8601 with the zone's offset at that time: 2026-07-01T00:00:00+02:00. */
export function isoInZone(timeMs: EpochMs, zone: string): string {
  return Temporal.Instant.fromEpochMilliseconds(timeMs).toZonedDateTimeISO(zone).toString({ timeZoneName: "never" });
}
