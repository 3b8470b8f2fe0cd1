import type { View } from "../definition/view.ts";
import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { bucketOf } from "../time.ts";
import { calendarStarts } from "./calendar.ts";
import { bucketStarts, type Query } from "./query.ts";

/** The event time of an answer. */
export interface AnswerRange extends TimeRange {
  /** The newest bucket after the range that the view has, if the query did not give the end of the range. Else null. */
  readonly laterMs?: EpochMs | null;
}

/**
 * Whether the range of a query may cut its buckets. The range has whole buckets of the view's grain, so only wider ones
 * can be cut.
 */
export function canBeCut(
  { grainMs, sessions, table }: View,
  { everyMs, calendar }: Pick<Query, "everyMs" | "calendar">,
): boolean {
  if (sessions !== null || table !== null) return false;
  return calendar === null ? everyMs > grainMs : calendar.unit !== "all";
}

/**
 * Returns the name of the column that says whether the range cuts a row's bucket. A view may have a field `partial` of
 * its own.
 */
export function partialColumn({ by, measures }: Pick<View, "by" | "measures">): string {
  return "partial" in by || "partial" in measures ? "bucket.partial" : "partial";
}

/**
 * Returns a function that returns, for a bucket's start, whether the range leaves out a part of the bucket's time. If
 * the query did not give the end of its range, the range ends with the newest event. That cuts no bucket, unless the
 * view has later events. The first sliding window is whole, because the buckets before the range are read too.
 */
export function cutBuckets(view: View, query: Query, range: AnswerRange): (bucket: EpochMs) => boolean {
  const { fromMs, toMs, laterMs = null } = range;
  if (!canBeCut(view, query) || fromMs >= toMs || !Number.isFinite(fromMs) || !Number.isFinite(toMs))
    return () => false;
  const { first, last, endMs } = ends(view, query, range);
  const cutsFirst = query.windowMs === query.everyMs && first < fromMs;
  const cutsLast = (query.toMs !== null || laterMs !== null) && endMs > toMs;
  return (bucket) => (cutsFirst && bucket === first) || (cutsLast && bucket === last);
}

/**
 * Returns the starts of the first and last bucket of a range, and the end of the last one. For a calendar, the end only
 * shows whether it is after the range.
 */
function ends(view: View, query: Query, range: TimeRange): { first: EpochMs; last: EpochMs; endMs: EpochMs } {
  const { fromMs, toMs } = range;
  const { calendar, everyMs } = query;
  if (calendar === null) {
    const last = bucketOf(toMs - 1, everyMs);
    return { first: bucketOf(fromMs, everyMs), last, endMs: last + everyMs };
  }
  const starts = bucketStarts(view, query, range) ?? [];
  const [first = fromMs, last = fromMs] = [starts[0], starts.at(-1)];
  const isBoundary = calendarStarts(calendar, last, toMs + 1).at(-1) === toMs;
  return { first, last, endMs: isBoundary ? toMs : toMs + 1 };
}
