import { TidelineError } from "./errors.ts";
import type { EpochMs } from "./log/position.ts";
import { bucketOf, formatTime, parseTime } from "./time.ts";

/** A half-open range of event time, epoch milliseconds: `[fromMs, toMs)`. */
export interface TimeRange {
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
}

export const DAY_MS = 86_400_000;

/** The forms that `parseInterval` accepts, for help texts and errors. */
export const INTERVAL_FORMS = "a date, 2026-01-31, or an instant, 2026-01-31T12:00:00Z or epoch milliseconds; UTC";

/**
 * Returns the range of two texts. A date is its whole UTC day, so a date as `to` is included. An instant as `to` is
 * excluded. Throws BAD_REQUEST.
 */
export function parseInterval(from: string, to: string): TimeRange {
  const fromMs = timeOf("from", from);
  const toMs = timeOf("to", to) + (isDate(to) ? DAY_MS : 0);
  if (fromMs >= toMs)
    throw new TidelineError("BAD_REQUEST", `from ${from} to ${to} is empty`, "`to` has to lie after `from`.");
  return { fromMs, toMs };
}

/**
 * Returns `2026-01-01..2026-01-31` for whole days, the last of which is included. Otherwise returns instants.
 * `parseInterval` reads both sides.
 */
export function intervalName({ fromMs, toMs }: TimeRange): string {
  const whole = fromMs % DAY_MS === 0 && toMs % DAY_MS === 0;
  return whole ? `${dayOf(fromMs)}..${dayOf(toMs - 1)}` : `${formatTime(fromMs)}..${formatTime(toMs)}`;
}

/** Returns the range as a part of a sentence: both instants, the second exclusive. */
export function intervalText({ fromMs, toMs }: TimeRange): string {
  return `[${formatTime(fromMs)}, ${formatTime(toMs)})`;
}

/** Returns the UTC day of a time: `2026-01-31`. */
export function dayOf(time: EpochMs): string {
  return formatTime(time).slice(0, -"T00:00:00.000Z".length);
}

/** Returns the smallest range of whole buckets that contains `range`. */
export function wholeBuckets({ fromMs, toMs }: TimeRange, grainMs: number): TimeRange {
  return { fromMs: bucketOf(fromMs, grainMs), toMs: nextBucket(toMs, grainMs) };
}

/**
 * Divides a range of whole buckets by UTC day. A bucket belongs to the day in which it starts. Each bucket wider than a
 * day is a range of its own.
 */
export function byDay({ fromMs, toMs }: TimeRange, grainMs: number): TimeRange[] {
  const pieces: TimeRange[] = [];
  for (let from = fromMs; from < toMs; ) {
    const to = Math.min(nextBucket(bucketOf(from, DAY_MS) + DAY_MS, grainMs), toMs);
    pieces.push({ fromMs: from, toMs: to });
    from = to;
  }
  return pieces;
}

/** Returns ordered ranges with adjacent ones joined. */
export function joined(ranges: readonly TimeRange[]): TimeRange[] {
  const joints: TimeRange[] = [];
  for (const range of ranges) {
    const last = joints.at(-1);
    if (last?.toMs === range.fromMs) joints[joints.length - 1] = { fromMs: last.fromMs, toMs: range.toMs };
    else joints.push(range);
  }
  return joints;
}

/** SQL: whether `column`, in epoch milliseconds, is in one of `ranges`. */
export function insideSql(column: string, ranges: readonly TimeRange[]): string {
  const tests = ranges.map(({ fromMs, toMs }) => `(${column} >= ${fromMs} AND ${column} < ${toMs})`);
  return tests.length === 0 ? "false" : `(${tests.join(" OR ")})`;
}

/** Returns the start of the first bucket that begins at or after `time`. */
function nextBucket(time: EpochMs, grainMs: number): EpochMs {
  return bucketOf(time + grainMs - 1, grainMs);
}

function timeOf(side: "from" | "to", text: string): EpochMs {
  const time = parseTime(text);
  if (time === null) {
    throw new TidelineError("BAD_REQUEST", `${side}: "${text}" is not a time`, `Give ${INTERVAL_FORMS}.`);
  }
  return time;
}

/** Whether a text is a date without a time: 2026-01-31. */
export function isDate(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text);
}
