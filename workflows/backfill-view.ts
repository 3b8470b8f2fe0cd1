import {
  ApplicationFailure,
  continueAsNew,
  defineQuery,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities, BackfillResult } from "../activities/activities.ts";
import { isTidelineError } from "../core/errors.ts";
import { parseInterval } from "../core/interval.ts";
import { inParallel } from "./shared/parallel.ts";
import { inBackground, label, runStartedMs, STEP, secondsSince, stepFailure } from "./shared/run.ts";

/**
 * The input of a backfill, also from Temporal's UI: `{ "view": "revenue", "from": "2026-01-01", "to": "2026-01-31" }`,
 * under the id `backfill/revenue/2026-01-01..2026-01-31` (with `<namespace>/` before it in an installation that has
 * one), so that it runs only once at a time. If it was terminated or cancelled and is started again, it continues where
 * it was.
 */
export interface BackfillViewInput {
  readonly view: string;
  /** A UTC date, or an instant. */
  readonly from: string;
  /** A UTC date, which is included, or an instant, which is excluded. */
  readonly to: string;
  /** How many days are built at once, 1 to 16. */
  readonly parallel?: number;
  /** Publish even if nothing differs. */
  readonly force?: boolean;
  /** When the first part of this run began, epoch milliseconds: set when it continues as new. */
  readonly sinceMs?: number;
  /** The days that failed in earlier parts of this run: set when it continues as new. */
  readonly failed?: readonly FailedDay[];
}

/** A day that could not be recomputed. The version keeps what it had for that day. */
export interface FailedDay {
  readonly day: string;
  /** A code of `ErrorCode`, TIMED_OUT or UNEXPECTED. */
  readonly code: string;
  readonly message: string;
}

export interface BackfillViewResult extends BackfillResult {
  /** How many days have nothing to recompute or to replace. */
  readonly skipped: number;
  /**
   * The failed days, in order. Starting with the same input again tries only these. Absent in results of earlier
   * releases.
   */
  readonly failed?: readonly FailedDay[];
  readonly seconds: number;
}

export interface BackfillProgress {
  /** How many days are recomputed or have failed. */
  readonly done: number;
  /** 0 until the interval is divided into days. */
  readonly days: number;
}

export const backfillProgress = defineQuery<BackfillProgress>("backfillProgress");

const DAYS_AT_ONCE = 2;
const MOST_AT_ONCE = 16;
/**
 * The run stops after this many failed days: the cause is not a single day then, and each costs minutes of attempts.
 */
const MOST_FAILED = 100;
const { finishPublish } = proxyActivities<Activities>(STEP);

/**
 * Recomputes a view's buckets in an interval of event time from the archive, and publishes the days that differ from
 * the newest version. Returns those days, and the days that could not be recomputed. A failed day does not stop the
 * others from being published. The run itself fails when all days fail, or too many.
 */
export async function backfillView(input: BackfillViewInput): Promise<BackfillViewResult> {
  requireInput(input);
  const { view, from, to, parallel = DAYS_AT_ONCE, force = false, sinceMs = runStartedMs() } = input;
  const failed = [...(input.failed ?? [])];
  label({ kind: "backfill", view });
  let progress: BackfillProgress = { done: 0, days: 0 };
  setHandler(backfillProgress, () => progress);
  const activities = inBackground();
  const { generation, stream, backfill, days, done, skipped } = await activities.planBackfill.executeWithOptions(
    { summary: "the interval by day" },
    [{ view, from, to }],
  );
  label({ stream });
  const before = new Set([...done, ...failed.map(({ day }) => day)]);
  const left = days.filter(({ day }) => !before.has(day));
  progress = { done: days.length - left.length, days: days.length };
  await inParallel(parallel, left, async (day) => {
    if (workflowInfo().continueAsNewSuggested) return;
    const failure = await activities.backfillDay
      .executeWithOptions({ summary: `states of ${day.day}` }, [{ view: generation, backfill, day }])
      .then(
        () => null,
        (error: unknown) => {
          if (isCancellation(error)) throw error;
          return { day: day.day, ...stepFailure(error) };
        },
      );
    if (failure !== null) failed.push(failure);
    if (failed.length >= MOST_FAILED) throw givenUp(failed, `${MOST_FAILED} days`);
    progress = { ...progress, done: progress.done + 1 };
    setCurrentDetails(
      `${progress.done} of ${progress.days} days${failed.length === 0 ? "" : `, ${failedText(failed)}`}`,
    );
  });
  if (progress.done < progress.days)
    return continueAsNew<typeof backfillView>({ ...input, sinceMs, ...(failed.length === 0 ? {} : { failed }) });
  const lacking = new Set(failed.map(({ day }) => day));
  const built = days.filter(({ day }) => !lacking.has(day));
  if (failed.length > 0 && built.length === 0) throw givenUp(failed, "every day");
  const result = await activities.finishBackfill.executeWithOptions({ summary: "comparison, publication" }, [
    { view: generation, backfill, days: built, force },
  ]);
  const seconds = secondsSince(sinceMs);
  if (result.version !== null)
    await finishPublish.executeWithOptions({ summary: `pointer to version ${result.version}` }, [
      { view: generation, version: result.version, seconds },
    ]);
  // If days failed, the files are kept: the next run then does only the failed days.
  if (failed.length === 0)
    await activities.clearBackfill.executeWithOptions({ summary: "files of the days" }, [
      { view: generation, name: backfill.name },
    ]);
  failed.sort((a, b) => (a.day < b.day ? -1 : 1));
  setCurrentDetails(`${outcome(result, seconds)}${failed.length === 0 ? "" : `\n\n${failedText(failed)}`}`);
  return { ...result, skipped, failed, seconds };
}

/** Returns a text such as `2 days failed: 2026-01-06: STATE_OVERFLOW: …`, each day on a line. */
function failedText(failed: readonly FailedDay[]): string {
  const lines = failed.map(({ day, code, message }) => `${day}: ${code}: ${message}`);
  return `${failed.length} failed:\n${lines.join("\n")}`;
}

/** Returns the failure that ends the run. Finished days stay done. */
function givenUp(failed: readonly FailedDay[], many: string): ApplicationFailure {
  const { day, code, message } = failed.at(-1) ?? { day: "", code: "UNEXPECTED", message: "" };
  return ApplicationFailure.nonRetryable(`${many} failed, the last one ${day}: ${message}`, code, { failed });
}

function outcome({ version, compared, days }: BackfillResult, seconds: number): string {
  const changed = days.filter(({ identical }) => !identical).length;
  const published = version === null ? "nothing published" : `version ${version}`;
  const identical = `${days.length - changed} days identical to version ${compared}`;
  return `${published}: ${identical}, ${changed} not, in ${seconds} s`;
}

/** Checks input that may have been typed by hand. An error in it ends the run at once, with a message. */
function requireInput(input: Partial<Record<keyof BackfillViewInput, unknown>> | undefined): void {
  const { view, from, to, parallel = DAYS_AT_ONCE, force = false } = input ?? {};
  if (typeof view !== "string" || typeof from !== "string" || typeof to !== "string")
    throw refused('the input is not of the form {"view": "<view>", "from": "2026-01-01", "to": "2026-01-31"}');
  if (typeof parallel !== "number" || !Number.isInteger(parallel) || parallel < 1 || parallel > MOST_AT_ONCE)
    throw refused(`parallel: a whole number from 1 to ${MOST_AT_ONCE}`);
  if (typeof force !== "boolean") throw refused("force: true or false");
  try {
    parseInterval(from, to);
  } catch (error) {
    throw isTidelineError(error) ? refused(`${error.message}. ${error.hint}`) : error;
  }
}

function refused(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, "BAD_REQUEST");
}
