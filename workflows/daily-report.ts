import {
  ApplicationFailure,
  defineQuery,
  getExternalWorkflowHandle,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
} from "@temporalio/workflow";
import type { Activities, Delivered, ReportWritten } from "../activities/activities.ts";
import { isTidelineError } from "../core/errors.ts";
import { DAY_MS, dayOf, parseInterval } from "../core/interval.ts";
import type { CutJson } from "../core/log/position.ts";
import { bucketOf, parseTime } from "../core/time.ts";
import { archiveTo } from "./archive-to.ts";
import { deliverNow, deliverReport } from "./deliver-report.ts";
import { executionTimeoutMs, workId } from "./shared/names.ts";
import { inBackground, label, runStartedMs, STEP, secondsSince } from "./shared/run.ts";
import { startAside, startOrJoin } from "./shared/start-or-join.ts";

/**
 * The input of a report, also from Temporal's UI: `{ "date": "2026-01-01" }`, under the id `report/daily/2026-01-01`
 * (with `<namespace>/` before it in an installation that has one).
 */
export interface DailyReportInput {
  /** The UTC day of the report. */
  readonly date: string;
  /** Make another edition from the current log, instead of computing the existing one again. */
  readonly fresh?: boolean;
  /** Whether to mail it; yes by default. */
  readonly deliver?: boolean;
  /** When to mail it, an instant; at once by default. */
  readonly deliverAt?: string;
}

export interface DailyReportResult extends ReportWritten {
  /** Whether this run chose the positions of the edition. */
  readonly pinned: boolean;
  readonly delivery: string;
  readonly seconds: number;
}

export interface ReportProgress {
  readonly done: number;
  /** 0 until the streams are known. */
  readonly steps: number;
}

export const reportProgress = defineQuery<ReportProgress>("reportProgress");

const DELIVERY_HOUR_MS = 8 * 3_600_000;
const activities = proxyActivities<Activities>(STEP);

/**
 * Returns the input for the schedule's run of that time: the report of the UTC day before, delivered at 08:00.
 * `scheduledMs` is the scheduled time, however late the run is.
 */
export function nightlyReport(scheduledMs: number): DailyReportInput {
  const midnight = bucketOf(scheduledMs, DAY_MS);
  return { date: dayOf(midnight - DAY_MS), deliverAt: new Date(midnight + DELIVERY_HOUR_MS).toISOString() };
}

/**
 * Computes the report of a UTC day and has it delivered. The first run archives the log and fixes its positions as an
 * edition. Later runs compute that edition again, with the same bytes.
 */
export async function dailyReport(input: DailyReportInput): Promise<DailyReportResult> {
  const { date, fresh, deliver, deliverAtMs } = checked(input);
  label({ kind: "report" });
  let progress: ReportProgress = { done: 0, steps: 0 };
  setHandler(reportProgress, () => progress);
  const found = await activities.findEdition.executeWithOptions({ summary: "which edition" }, [{ date, fresh }]);
  const { namespace } = found;
  const edition = found.edition ?? found.next;
  if (found.edition === null) {
    progress = { done: 0, steps: found.streams.length + 1 };
    const streams: Record<string, { topicId: string; cut: CutJson }> = {};
    for (const stream of found.streams) {
      const summary = `end of ${stream}`;
      const { topicId, target } = await activities.planArchive.executeWithOptions({ summary }, [
        { stream, target: null },
      ]);
      await archiveTo(stream, namespace, target);
      streams[stream] = { topicId, cut: target };
      progress = { ...progress, done: progress.done + 1 };
    }
    await activities.pinEdition.executeWithOptions({ summary: `edition ${edition}` }, [{ date, edition, streams }]);
  }
  const { writeReport } = inBackground();
  const written = await writeReport.executeWithOptions({ summary: `numbers and files of ${date}` }, [
    { date, edition },
  ]);
  setCurrentDetails(`edition ${edition} is in ${written.folder}`);
  const delivery = deliver ? await delivered(namespace, date, deliverAtMs) : "not mailed: it was not asked for";
  setCurrentDetails(`edition ${edition} is in ${written.folder}; ${delivery}`);
  return { ...written, pinned: found.edition === null, delivery, seconds: secondsSince(runStartedMs()) };
}

/** Returns the time limit of a delivery that first waits for `waitMs`. Its mail is tried for a day. */
function deliveryTimeoutMs(waitMs: number): number {
  return Math.max(executionTimeoutMs("delivery"), waitMs + 2 * DAY_MS);
}

/**
 * Mails the report now, or leaves that to a run that waits for the time of delivery. Returns a sentence about the
 * result.
 */
async function delivered(namespace: string, date: string, atMs: number): Promise<string> {
  const target = `daily/${date}`;
  const work = { workflow: deliverReport, namespace, kind: "delivery", target } as const;
  if (atMs > Date.now()) {
    await startAside({ ...work, input: { date, atMs }, timeoutMs: deliveryTimeoutMs(atMs - Date.now()) });
    return `to be mailed at ${new Date(atMs).toISOString()}`;
  }
  for (;;) {
    const run: { readonly result: Delivered } | null = await startOrJoin({ ...work, input: { date } });
    if (run !== null) return run.result.how;
    // Another run is waiting for its time, or is mailing now. It is told to begin; it may have ended already.
    await getExternalWorkflowHandle(workId(namespace, "delivery", target))
      .signal(deliverNow)
      .catch(() => {});
    await sleep("1 second");
  }
}

/** Checks input that may have been typed by hand. An error in it ends the run at once, with a message. */
function checked(input: Partial<Record<keyof DailyReportInput, unknown>> | undefined) {
  const { date, fresh = false, deliver = true, deliverAt } = input ?? {};
  if (typeof date !== "string" || !/^\d{4}-\d{2}-\d{2}$/.test(date))
    throw refused('the input is not of the form {"date": "2026-01-01"}');
  if (typeof fresh !== "boolean" || typeof deliver !== "boolean") throw refused("fresh, deliver: true or false");
  const deliverAtMs = deliverAt === undefined ? 0 : typeof deliverAt === "string" ? parseTime(deliverAt) : null;
  if (deliverAtMs === null) throw refused("deliverAt: an instant such as 2026-01-02T08:00:00Z");
  if (dayStart(date) > Date.now()) throw refused(`${date} has not begun`);
  return { date, fresh, deliver, deliverAtMs };
}

function dayStart(date: string): number {
  try {
    return parseInterval(date, date).fromMs;
  } catch (error) {
    throw isTidelineError(error) ? refused(`date: "${date}" is not a day`) : error;
  }
}

function refused(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, "BAD_REQUEST");
}
