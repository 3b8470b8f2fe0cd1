import type { View } from "../definition/view.ts";
import type { EpochMs } from "../log/position.ts";
import { calendarStarts } from "../query/calendar.ts";
import type { AnswerRange } from "../query/partial.ts";
import type { Query } from "../query/query.ts";

/** What a proof says of buckets that an answer's range cuts. Nothing here is what answers are made with. */

const LONGEST_UNIT_MS = 367 * 86_400_000;

/** Whether an answer to this query has a column for it. */
export function plainMayCut({ sessions, table, grainMs }: View, { everyMs, calendar }: Query): boolean {
  const isWhole = calendar === null ? everyMs === grainMs : calendar.unit === "all";
  return sessions === null && table === null && !isWhole;
}

/** Whether a part of the row's own time, `[bucket, next bucket)`, lies outside of the range and was left out. */
export function plainIsCut(view: View, query: Query, range: AnswerRange, bucket: EpochMs): boolean {
  if (!plainMayCut(view, query)) return false;
  const { calendar, everyMs, windowMs } = query;
  const next = calendar === null ? undefined : calendarStarts(calendar, bucket, bucket + LONGEST_UNIT_MS)[1];
  const endsAt = next ?? bucket + everyMs;
  const isOpenEnded = query.toMs === null && (range.laterMs ?? null) === null;
  return (bucket < range.fromMs && windowMs <= everyMs) || (endsAt > range.toMs && !isOpenEnded);
}
