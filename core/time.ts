import type { EpochMs } from "./log/position.ts";

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ["second", 1_000],
  ["minute", 60_000],
  ["hour", 3_600_000],
  ["day", 86_400_000],
  ["week", 604_800_000],
  ["s", 1_000],
  ["m", 60_000],
  ["min", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
  ["w", 604_800_000],
]);

/** The last instant that a Date can have. The first one is minus this (ECMA-262, time values). */
export const LAST_INSTANT: EpochMs = 8_640_000_000_000_000;

/** Returns the milliseconds of "1 minute", "15m", "2 hours" or "1d". Null when it is not a duration. */
export function parseDuration(text: string): number | null {
  const match = /^\s*(\d{1,6})\s*([a-z]+?)s?\s*$/i.exec(text) ?? /^\s*(\d{1,6})\s*(s)\s*$/i.exec(text);
  const unitMs = match?.[2] === undefined ? undefined : UNIT_MS.get(match[2].toLowerCase());
  if (match?.[1] === undefined || unitMs === undefined) return null;
  const amount = Number(match[1]);
  return amount > 0 ? amount * unitMs : null;
}

/** Returns a duration in the largest unit that divides it: 3600000 -> "1h". */
export function formatDuration(durationMs: number): string {
  for (const unit of ["w", "d", "h", "m", "s"] as const) {
    const unitMs = UNIT_MS.get(unit) ?? 1;
    if (durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`;
  }
  return `${durationMs}ms`;
}

/** Returns an instant as ISO 8601, in UTC and to the millisecond. */
export function formatTime(time: EpochMs): string {
  return new Date(time).toISOString();
}

/**
 * Returns the start of the bucket of width `grainMs` that contains `time`. Buckets are aligned to the Unix epoch, in
 * UTC.
 */
export function bucketOf(time: EpochMs, grainMs: number): EpochMs {
  return Math.floor(time / grainMs) * grainMs;
}

/**
 * SQL: `bucketOf` for a column or expression of epoch milliseconds. The remainder is made positive, so that times
 * before 1970 are rounded down too.
 */
export function bucketSql(time: string, grainMs: number): string {
  return `(${time} - ((${time} % ${grainMs}) + ${grainMs}) % ${grainMs})`;
}

/**
 * Returns the instant of a text, in epoch milliseconds; finer digits are cut off. Null for any other text, and for a
 * day that does not exist. Forms: epoch milliseconds; an ISO 8601 date or date-time, also with a space for the T,
 * lower-case letters or `UTC` for the Z, in UTC when it names no zone; the date of a mail (RFC 2822, section 3.3),
 * `Sun, 01 Mar 2026 08:02:00 +0000`.
 */
export function parseTime(text: string): EpochMs | null {
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  return isoTime(text) ?? mailTime(text);
}

/**
 * The same as `parseTime`, for a URL's parameter. A plus sign that was not encoded arrives as a space:
 * 2026-01-01T00:00:00 01:00.
 */
export function parseUrlTime(text: string): EpochMs | null {
  return parseTime(text.replace(/(?<=:\d{2}\S*) (?=\d{2}(:?\d{2})?$)/, "+"));
}

const CLOCK = /(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?/.source;
const ZONE = /Z|z|UTC|utc|GMT|[+-]\d{2}(?::?\d{2})?/.source;
const ISO = new RegExp(`^(\\d{4}-\\d{2}-\\d{2})(?:[Tt ]${CLOCK}(?: ?(${ZONE}))?)?$`);

function isoTime(text: string): EpochMs | null {
  const [, date, hours, minutes, seconds, decimals = "", zone] = ISO.exec(text) ?? [];
  if (date === undefined) return null;
  return instantOf(date, clockMs(hours, minutes, seconds, decimals), zone);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MAIL_DAY = /(?:(Sun|Mon|Tue|Wed|Thu|Fri|Sat), )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4})/.source;
const MAIL_CLOCK = /(\d{2}):(\d{2})(?::(\d{2}))?/.source;
const MAIL = new RegExp(`^${MAIL_DAY} ${MAIL_CLOCK} (UT|UTC|GMT|Z|[+-]\\d{4}|[ECMP][SD]T)$`);

function mailTime(text: string): EpochMs | null {
  const [, weekday, day = "", name = "", year, hours, minutes, seconds, zone] = MAIL.exec(text) ?? [];
  const month = MONTHS.indexOf(name) + 1;
  if (month === 0) return null;
  const date = `${year}-${String(month).padStart(2, "0")}-${day.padStart(2, "0")}`;
  if (weekday !== undefined && WEEKDAYS[new Date(date).getUTCDay()] !== weekday) return null;
  return instantOf(date, clockMs(hours, minutes, seconds), zone);
}

function instantOf(date: string, clock: number | null, zone: string | undefined): EpochMs | null {
  const offset = zoneMs(zone);
  const day = Date.parse(date);
  return clock === null || offset === null || !isDay(date) ? null : day + clock - offset;
}

/** Returns milliseconds since midnight. Null for a time of day that does not exist. 24:00 is the end of the day. */
function clockMs(hours = "0", minutes = "0", seconds = "0", decimals = ""): number | null {
  const ms = Number(`${decimals}000`.slice(0, 3));
  const time = Number(hours) * 3_600_000 + Number(minutes) * 60_000 + Number(seconds) * 1_000 + ms;
  const isTime = Number(minutes) < 60 && Number(seconds) < 60 && time <= 86_400_000;
  return isTime ? time : null;
}

/** The hours of the zones that RFC 2822 names. */
const NAMED_ZONES: Readonly<Record<string, number>> = {
  ...{ Z: 0, UT: 0, UTC: 0, GMT: 0 },
  ...{ EST: -5, EDT: -4, CST: -6, CDT: -5, MST: -7, MDT: -6, PST: -8, PDT: -7 },
};

/** Returns how far a zone is ahead of UTC. Null for an offset that does not exist. */
function zoneMs(zone = "Z"): number | null {
  const named = NAMED_ZONES[zone.toUpperCase()];
  if (named !== undefined) return named * 3_600_000;
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(3).replace(":", ""))];
  if (hours > 23 || minutes > 59) return null;
  return (zone.startsWith("-") ? -1 : 1) * (hours * 3_600_000 + minutes * 60_000);
}

/**
 * Returns the instant of an ISO 8601 date or date-time in a definition. For a day that does not exist, it returns the
 * same as JavaScript. Stored definitions depend on the results, so this function does not change when `parseTime` does.
 */
function parseDateTime(text: string): EpochMs | null {
  if (!/^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$/.test(text)) return null;
  // Databases write whole hours as +02, which JavaScript does not read.
  const hours = /\d{2}:\d{2}\S*[+-]\d{2}$/.test(text) ? `${text}:00` : text;
  const zoned = text.length === 10 || /(Z|[+-]\d{2}:?\d{2})$/.test(hours) ? hours : `${hours}Z`;
  const time = Date.parse(zoned.replace(" ", "T"));
  return Number.isNaN(time) ? null : time;
}

/** Whether a month has this day. JavaScript takes 2026-02-30 for the second of March. */
function isDay(date: string): boolean {
  const time = Date.parse(date);
  return !Number.isNaN(time) && new Date(time).getUTCDate() === Number(date.slice(8));
}

/**
 * Returns a bound of a definition's instants, the same in every process: in UTC when it names no zone. It also accepts
 * the other forms that JavaScript reads, because stored definitions must stay readable. Throws RangeError for a text
 * that is not a time.
 */
export function parseBound(text: string): EpochMs {
  const time = parseDateTime(text) ?? [zonedBound(text), text].map(Date.parse).find((one) => !Number.isNaN(one));
  if (time === undefined) throw notTime(text);
  return time;
}

/** The same for a definition's file. Throws RangeError also for a day that does not exist. */
export function parseNewBound(text: string): EpochMs {
  const time = parseBound(text);
  const [date] = /^\d{4}-\d{2}-\d{2}/.exec(text) ?? [];
  if (date !== undefined && !isDay(date)) throw notTime(text);
  return time;
}

function notTime(text: string): RangeError {
  return new RangeError(`"${text}" is not a time; write 2020-01-01T00:00:00Z`);
}

/**
 * Returns a text without a zone with one, because JavaScript would use the process's zone, except for dates, months and
 * years of ISO 8601.
 */
function zonedBound(text: string): string {
  if (/(Z|GMT|UTC|[+-]\d{2}:?\d{2})$/i.test(text) || /^(\d{4}|[+-]\d{6})(-\d{2}){0,2}$/.test(text)) return text;
  return /^(\d{4}|[+-]\d{6})-\d{2}-\d{2}T/.test(text) ? `${text}Z` : `${text} UTC`;
}
