import { TidelineError } from "../../core/errors.ts";
import { byDay, DAY_MS, dayOf, type TimeRange } from "../../core/interval.ts";
import { bucketOf } from "../../core/time.ts";
import { overlaps, type RowGroup } from "../archive/event-times.ts";

/** The buckets that start in one UTC day. Their states are built in one step. */
export interface BackfillDay extends TimeRange {
  readonly day: string;
  /** The most records of the archive that have to be read for the day. */
  readonly records: number;
  /** How many state rows the newest version has for the day, before they are merged. */
  readonly states: number;
}

export interface BackfillPlan {
  readonly days: readonly BackfillDay[];
  /** How many days of the interval have neither archived events nor states. */
  readonly skipped: number;
}

/** The most days of a run, because each day is one activity or more. */
const DAYS = 5_000;

/**
 * Divides whole buckets by day. `states` counts the version's rows by the day (epoch milliseconds) in which their
 * bucket starts.
 */
export function planBackfill(
  interval: TimeRange,
  grainMs: number,
  groups: readonly RowGroup[],
  states: ReadonlyMap<number, number>,
): BackfillPlan {
  if (interval.toMs - interval.fromMs > DAYS * DAY_MS)
    throw new TidelineError(
      "BAD_REQUEST",
      `the interval is longer than ${DAYS} days`,
      "Backfill it in several steps, or rebuild the view.",
    );
  const all = byDay(interval, grainMs).map((range) => ({
    day: dayOf(range.fromMs),
    ...range,
    records: groups.filter((group) => overlaps(group, range)).reduce((sum, { records }) => sum + records, 0),
    states: states.get(bucketOf(range.fromMs, DAY_MS)) ?? 0,
  }));
  const days = all.filter(({ records, states: held }) => records + held > 0);
  return { days, skipped: all.length - days.length };
}
