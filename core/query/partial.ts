import type { View } from "../definition/view.ts";
import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { bucketOf } from "../time.ts";
import { calendarStarts } from "./calendar.ts";
import { bucketStarts, type Query } from "./query.ts";

/** The event time that an answer is about. */
export interface AnswerRange extends TimeRange {
  /**
   * The newest bucket after the range that the view holds, when the query did not say where the range ends; else null.
   */
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

/** The column that says of a row whether the range cuts its bucket. A view may have a field `partial` of its own. */
export function partialColumn({ by, measures }: Pick<View, "by" | "measures">): string {
  return "partial" in by || "partial" in measures ? "bucket.partial" : "partial";
}

/**
 * Returns whether the range leaves out a part of a bucket's time, by the bucket's start. A range whose end the query
 * did not give ends with the newest event: that cuts nothing, unless the view holds later events. The first window of
 * sliding ones is whole, because what lies before the range is read.
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
 * The starts of the first and last bucket of a range, and where the last one ends; of a calendar's only whether that is
 * after the range.
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
