import type { DesiredSchedule } from "../activities/worker/schedules.ts";
import { type Kind, SUMMARIES, scheduledTimeoutMs, scheduleId } from "./shared/names.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

type Timing = { readonly shown: string } & (
  | { readonly everyMs: number; readonly offsetMs: number }
  | { readonly cron: string }
);

/**
 * A worker starts a settlement when there is something to settle (activities/worker/settlements.ts). The schedule is
 * for settlements that no worker has started.
 */
const TIMING = {
  settle: { everyMs: 10 * MINUTE_MS, offsetMs: 0, shown: "every ten minutes, and when there is something new" },
  retention: { everyMs: 10 * MINUTE_MS, offsetMs: 40_000, shown: "every ten minutes" },
  retire: { everyMs: 60 * MINUTE_MS, offsetMs: 25 * MINUTE_MS + 45_000, shown: "every hour" },
  "compact-archive": { everyMs: 60 * MINUTE_MS, offsetMs: 5 * MINUTE_MS + 45_000, shown: "every hour" },
  prove: { everyMs: DAY_MS, offsetMs: 3.5 * 60 * MINUTE_MS, shown: "at 03:30 UTC" },
  report: { cron: "0 2 * * *", shown: "at 02:00 UTC" },
} as const satisfies Partial<Record<Kind, Timing>>;

/**
 * Returns the schedules of an installation. They settle each stream, compact its archive and check its retention; they
 * report on the day before, retire generations, and prove what is served. `reported` are the views of the system's
 * report; absent if there is none.
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
    ...[...streams].flatMap((stream) =>
      (["settle", "compact-archive", "retention"] as const).map((kind) => schedule(kind, stream)),
    ),
    ...(reported?.every((view) => known.has(view)) ? [schedule("report", "daily")] : []),
    schedule("retire", "generations"),
    schedule("prove", "views"),
  ];
}
