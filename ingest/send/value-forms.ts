import type { EpochMs } from "../../core/log/position.ts";
import { fractionOfText } from "../../core/numbers/fraction.ts";
import { parseTime } from "../../core/time.ts";

/** The meanings of a number in a column of times. */
export const TIME_NUMBERS = ["ms", "s", "us", "ns", "yyyymmdd"] as const;

/** The orders of day, month and year in a date that ends with the year. */
export const DATE_ORDERS = ["dmy", "mdy"] as const;

/** How the values of a file are written, if it differs from the usual way. */
export interface ValueForms {
  readonly timeNumbers: (typeof TIME_NUMBERS)[number];
  /** Null: dates that end with the year are refused, because 3/4/2026 may be two different days. */
  readonly dateOrder: (typeof DATE_ORDERS)[number] | null;
  /** Whether 12,50 means 12.50. */
  readonly decimalComma: boolean;
  /** Texts that mean a missing value, besides the empty one. */
  readonly missing: ReadonlySet<string>;
}

export const PLAIN_FORMS: ValueForms = {
  timeNumbers: "ms",
  dateOrder: null,
  decimalComma: false,
  missing: new Set(),
};

const YEAR_LAST = /^(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T](\d{1,2}:\d{2}.*))?$/;

/** A date such as 2026/3/1 or 2026.03.01, also with a time of day. The year comes first, so the order is certain. */
const YEAR_FIRST = /^(\d{4})([./])(\d{1,2})\2(\d{1,2})(?:[ T](\d{1,2}:\d{2}.*))?$/;

/** Whether a text begins with a date that ends with the year. */
export function hasYearLast(text: string): boolean {
  return YEAR_LAST.test(text);
}

/** A date such as 2026-3-1 8:02, which ISO 8601 writes with more digits. */
const SHORT_DIGITS = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}:\d{2}.*))?$/;

/**
 * Returns the instant of a text in epoch milliseconds; finer digits are cut off. A month or a week of ISO 8601 gives
 * its first instant. Returns null if the text is not a time.
 */
export function readTime(written: string, { timeNumbers, dateOrder }: ValueForms): EpochMs | null {
  if (/^[+-]?\d+(\.\d*)?$/.test(written)) return timeOfNumber(written, timeNumbers);
  const text = /m\.?$/i.test(written) ? with24Hours(written) : written;
  const [, firstYear, , month = "", day = "", time] = YEAR_FIRST.exec(text) ?? [];
  if (firstYear !== undefined) return timeOf(firstYear, month, day, time);
  const [, first = "", , second = "", year, clock] = (dateOrder === null ? null : YEAR_LAST.exec(text)) ?? [];
  if (year === undefined) return parseTime(text) ?? shortTime(text) ?? monthOrWeek(text);
  return dateOrder === "dmy" ? timeOf(year, second, first, clock) : timeOf(year, first, second, clock);
}

function timeOf(year: string, month: string, day: string, clock: string | undefined): EpochMs | null {
  const date = `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`;
  return parseTime(clock === undefined ? date : `${date}T${/^\d:/.test(clock) ? `0${clock}` : clock}`);
}

/** Returns 11:40:00 PM as 23:40:00. */
function with24Hours(text: string): string {
  const [, date, hour = "", rest, half = ""] =
    /^(.*[ T])(\d{1,2})(:\d{2}(?::\d{2}(?:\.\d+)?)?) ?([ap])\.?m\.?$/i.exec(text) ?? [];
  if (date === undefined || Number(hour) < 1 || Number(hour) > 12) return text;
  const hours = (Number(hour) % 12) + (half.toLowerCase() === "p" ? 12 : 0);
  return `${date}${String(hours).padStart(2, "0")}${rest}`;
}

function shortTime(text: string): EpochMs | null {
  const [, year, month = "", day = "", clock] = SHORT_DIGITS.exec(text) ?? [];
  return year === undefined ? null : timeOf(year, month, day, clock);
}

const DAY_MS = 86_400_000;

/** Reads 2026-03, 2026-W10 or 2026-W10-3. Week 1 is the week with the fourth of January (ISO 8601). */
function monthOrWeek(text: string): EpochMs | null {
  if (/^\d{4}-\d{2}$/.test(text)) return parseTime(`${text}-01`);
  const [, year, week, weekday = "1"] = /^(\d{4})-?W(\d{2})(?:-?([1-7]))?$/.exec(text) ?? [];
  if (year === undefined || week === undefined) return null;
  const monday = firstMonday(Number(year)) + (Number(week) - 1) * 7 * DAY_MS;
  if (Number(week) < 1 || monday >= firstMonday(Number(year) + 1)) return null;
  return monday + (Number(weekday) - 1) * DAY_MS;
}

/** Returns the Monday of a year's first week. */
function firstMonday(year: number): EpochMs {
  const fourth = Date.parse(`${String(year).padStart(4, "0")}-01-04`);
  const daysBehindMonday = (new Date(fourth).getUTCDay() + 6) % 7;
  return fourth - daysBehindMonday * DAY_MS;
}

const UNITS_IN_MS = { ms: 1n, s: 1_000n, us: 1_000n, ns: 1_000_000n } as const;

function timeOfNumber(text: string, unit: ValueForms["timeNumbers"]): EpochMs | null {
  if (unit === "yyyymmdd") return dateOfDigits(text);
  const number = fractionOfText(text);
  if (number === null) return null;
  if (unit === "ms" && number.over % number.under !== 0n) return null;
  const scale = UNITS_IN_MS[unit];
  const [over, under] = unit === "s" ? [number.over * scale, number.under] : [number.over, number.under * scale];
  const floor = over / under - (over < 0n && over % under !== 0n ? 1n : 0n);
  return Number.isSafeInteger(Number(floor)) ? Number(floor) : null;
}

/** Reads 20260301 or 20260301080200. */
function dateOfDigits(text: string): EpochMs | null {
  const [, year, month, day, hours, minutes, seconds] =
    /^(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2}))?$/.exec(text) ?? [];
  if (year === undefined) return null;
  return parseTime(`${year}-${month}-${day}${hours === undefined ? "" : `T${hours}:${minutes}:${seconds}`}`);
}

/**
 * Returns the likely meaning of a number in a column of times that is not a likely count of milliseconds; null if there
 * is none.
 */
export function likelyTimeNumber(text: string): ValueForms["timeNumbers"] | null {
  if (/^\d{8}(\d{6})?$/.test(text) && dateOfDigits(text) !== null) return "yyyymmdd";
  const [digits] = /^\d+/.exec(text) ?? [""];
  return digits.length === 9 || digits.length === 10
    ? "s"
    : digits.length === 16
      ? "us"
      : digits.length === 19
        ? "ns"
        : null;
}
