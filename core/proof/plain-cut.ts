import type { View } from "../definition/view.ts";
import type { EpochMs } from "../log/position.ts";
import { calendarStarts } from "../query/calendar.ts";
import type { AnswerRange } from "../query/partial.ts";
import type { Query } from "../query/query.ts";

/** Computes, for a proof, which buckets an answer's range cuts. No code is shared with answers. */

const LONGEST_UNIT_MS = 367 * 86_400_000;

/** Whether an answer to this query has the column `partial`. */
export function plainMayCut({ sessions, table, grainMs }: View, { everyMs, calendar }: Query): boolean {
  const isWhole = calendar === null ? everyMs === grainMs : calendar.unit === "all";
  return sessions === null && table === null && !isWhole;
}

/** Whether the range leaves out a part of the row's time, `[bucket, next bucket)`. */
export function plainIsCut(view: View, query: Query, range: AnswerRange, bucket: EpochMs): boolean {
  if (!plainMayCut(view, query)) return false;
  const { calendar, everyMs, windowMs } = query;
  const next = calendar === null ? undefined : calendarStarts(calendar, bucket, bucket + LONGEST_UNIT_MS)[1];
  const endsAt = next ?? bucket + everyMs;
  const isOpenEnded = query.toMs === null && (range.laterMs ?? null) === null;
  return (bucket < range.fromMs && windowMs <= everyMs) || (endsAt > range.toMs && !isOpenEnded);
}
