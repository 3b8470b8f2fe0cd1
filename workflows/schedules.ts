import type { DesiredSchedule } from "../activities/worker/schedules.ts";
import { type Kind, STREAM_KINDS, SUMMARIES, scheduledTimeoutMs, scheduleId } from "./shared/names.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

type Timing = { readonly shown: string } & (
  | { readonly everyMs: number; readonly offsetMs: number }
  | { readonly cron: string }
);

/** Refreshes begin when the archive of the same minute is likely to be done; the rest when neither is likely to be at work. */
const TIMING = {
  archive: { everyMs: MINUTE_MS, offsetMs: 0, shown: "every minute" },
  refresh: { everyMs: MINUTE_MS, offsetMs: 20_000, shown: "every minute" },
  retention: { everyMs: 10 * MINUTE_MS, offsetMs: 40_000, shown: "every ten minutes" },
  retire: { everyMs: 60 * MINUTE_MS, offsetMs: 25 * MINUTE_MS + 45_000, shown: "every hour" },
  "compact-archive": { everyMs: 60 * MINUTE_MS, offsetMs: 5 * MINUTE_MS + 45_000, shown: "every hour" },
  prove: { everyMs: DAY_MS, offsetMs: 3.5 * 60 * MINUTE_MS, shown: "at 03:30 UTC" },
  report: { cron: "0 2 * * *", shown: "at 02:00 UTC" },
} as const satisfies Partial<Record<Kind, Timing>>;

/**
 * What runs by itself: each stream is archived, its archive compacted and its retention watched, each view is refreshed, the day before is reported on,
 * and what is served is proven. `reported` are the views of the system's report; absent without one.
 */
export function desiredSchedules(
  namespace: string,
  streams: Iterable<string>,
  views: Iterable<string>,
  reported?: readonly string[],
): DesiredSchedule[] {
  const known = new Set(views);
  const schedule = (kind: keyof typeof TIMING, target: string): DesiredSchedule => {
    const { shown, ...when } = TIMING[kind];
    return {
      ...when,
      id: scheduleId(namespace, kind, target),
      workflowType: "scheduledRun",
      workflowId: `${scheduleId(namespace, kind, target)}-run`,
      input: { kind, target, namespace },
      summary: `${shown}: ${SUMMARIES[kind](target)}`,
      timeoutMs: scheduledTimeoutMs(kind),
    };
  };
  return [
    ...[...streams].flatMap((stream) => STREAM_KINDS.map((kind) => schedule(kind, stream))),
    ...[...known].map((view) => schedule("refresh", view)),
    ...(reported?.every((view) => known.has(view)) ? [schedule("report", "daily")] : []),
    schedule("retire", "generations"),
    schedule("prove", "views"),
  ];
}
