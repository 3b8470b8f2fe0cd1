import type { DesiredSchedule } from "../activities/schedules.ts";
import { type Kind, SUMMARIES, scheduleId } from "./names.ts";

const EVERY_MS = 60_000;
/** Refreshes begin when the archive of the same minute is likely to be done. */
const OFFSET_MS: Readonly<Record<Exclude<Kind, "rebuild">, number>> = { archive: 0, refresh: 20_000 };

/** What runs by itself: every minute, each stream is archived, and each view refreshed. */
export function desiredSchedules(
  namespace: string,
  streams: Iterable<string>,
  views: Iterable<string>,
): DesiredSchedule[] {
  const schedule = (kind: keyof typeof OFFSET_MS, target: string): DesiredSchedule => ({
    id: scheduleId(namespace, kind, target),
    everyMs: EVERY_MS,
    offsetMs: OFFSET_MS[kind],
    workflowType: "scheduledRun",
    workflowId: `${scheduleId(namespace, kind, target)}-run`,
    input: { kind, target, namespace },
    summary: `every minute: ${SUMMARIES[kind](target)}`,
  });
  return [
    ...[...streams].map((stream) => schedule("archive", stream)),
    ...[...views].map((view) => schedule("refresh", view)),
  ];
}
