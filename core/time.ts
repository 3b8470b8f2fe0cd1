import type { EpochMs } from "./position.ts";

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

/** "1 minute", "15m", "2 hours", "1d" -> milliseconds; null when it is not a duration. */
export function parseDuration(text: string): number | null {
  const match = /^\s*(\d{1,6})\s*([a-z]+?)s?\s*$/i.exec(text) ?? /^\s*(\d{1,6})\s*(s)\s*$/i.exec(text);
  const unitMs = match?.[2] === undefined ? undefined : UNIT_MS.get(match[2].toLowerCase());
  if (match?.[1] === undefined || unitMs === undefined) return null;
  const amount = Number(match[1]);
  return amount > 0 ? amount * unitMs : null;
}

/** 3600000 -> "1h": the largest unit that divides it. */
export function formatDuration(durationMs: number): string {
  for (const unit of ["w", "d", "h", "m", "s"] as const) {
    const unitMs = UNIT_MS.get(unit) ?? 1;
    if (durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`;
  }
  return `${durationMs}ms`;
}

/** The start of the bucket of width `grainMs` that holds `time`; buckets are aligned to the Unix epoch, in UTC. */
export function bucketOf(time: EpochMs, grainMs: number): EpochMs {
  return Math.floor(time / grainMs) * grainMs;
}

/** Epoch milliseconds or an ISO 8601 date or date-time (UTC when it names no zone); null when it is neither, or names a day that there is not. */
export function parseTime(text: string): EpochMs | null {
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  const time = parseDateTime(text);
  return time === null || !isDay(text.slice(0, 10)) ? null : time;
}

/** An ISO 8601 date or date-time, as `parseTime`; of a day that there is not the day that JavaScript takes it for. */
function parseDateTime(text: string): EpochMs | null {
  if (!/^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$/.test(text)) return null;
  // Databases write whole hours as +02, which JavaScript does not read.
  const hours = /\d{2}:\d{2}\S*[+-]\d{2}$/.test(text) ? `${text}:00` : text;
  const zoned = text.length === 10 || /(Z|[+-]\d{2}:?\d{2})$/.test(hours) ? hours : `${hours}Z`;
  const time = Date.parse(zoned.replace(" ", "T"));
  return Number.isNaN(time) ? null : time;
}

/** Whether a month has this day: JavaScript takes 2026-02-30 for the first of March. */
function isDay(date: string): boolean {
  const time = Date.parse(date);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(date);
}

/**
 * A bound of a definition's instants, the same in every process: in UTC when it names no zone. Besides what `parseTime` reads, the other forms that
 * JavaScript does: stored definitions must stay readable. Throws RangeError for what is no time.
 */
export function parseBound(text: string): EpochMs {
  const time = parseDateTime(text) ?? [zonedBound(text), text].map(Date.parse).find((one) => !Number.isNaN(one));
  if (time === undefined) throw notTime(text);
  return time;
}

/** The same of a definition's file. Throws RangeError also for a day that there is not. */
export function parseNewBound(text: string): EpochMs {
  const time = parseBound(text);
  const [date] = /^\d{4}-\d{2}-\d{2}/.exec(text) ?? [];
  if (date !== undefined && !isDay(date)) throw notTime(text);
  return time;
}

function notTime(text: string): RangeError {
  return new RangeError(`"${text}" is no time; write 2020-01-01T00:00:00Z`);
}

/** Without a zone JavaScript would take the process's, except for dates, months and years of ISO 8601. */
function zonedBound(text: string): string {
  if (/(Z|GMT|UTC|[+-]\d{2}:?\d{2})$/i.test(text) || /^(\d{4}|[+-]\d{6})(-\d{2}){0,2}$/.test(text)) return text;
  return /^(\d{4}|[+-]\d{6})-\d{2}-\d{2}T/.test(text) ? `${text}Z` : `${text} UTC`;
}
