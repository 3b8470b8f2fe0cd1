import {
  ApplicationFailure,
  continueAsNew,
  defineQuery,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities, BackfillResult } from "../activities/activities.ts";
import { isTidelineError } from "../core/errors.ts";
import { parseInterval } from "../core/interval.ts";
import { inParallel } from "./parallel.ts";
import { label, runStartedMs, STEP, secondsSince } from "./run.ts";

/**
 * What a backfill is started with, from Temporal's UI too: `{ "view": "revenue", "from": "2026-01-01", "to": "2026-01-31" }`, under the
 * id `backfill/revenue/2026-01-01..2026-01-31` (with `<namespace>/` before it in an installation that has one), so that it runs once at a
 * time. Started again after it was terminated or cancelled, it goes on where it was.
 */
export interface BackfillViewInput {
  readonly view: string;
  /** A UTC date, or an instant. */
  readonly from: string;
  /** A UTC date, which is included, or an instant, which is not. */
  readonly to: string;
  /** How many days are built at once, 1 to 16. */
  readonly parallel?: number;
  /** Publish also when nothing differs. */
  readonly force?: boolean;
  /** When the first part of this run began, epoch milliseconds: set when it continues as new. */
  readonly sinceMs?: number;
}

export interface BackfillViewResult extends BackfillResult {
  /** Days without anything to recompute or to replace. */
  readonly skipped: number;
  readonly seconds: number;
}

export interface BackfillProgress {
  readonly done: number;
  /** 0 until the interval has been divided. */
  readonly days: number;
}

export const backfillProgress = defineQuery<BackfillProgress>("backfillProgress");

const DAYS_AT_ONCE = 2;
const MOST_AT_ONCE = 16;
const activities = proxyActivities<Activities>(STEP);

/**
 * Recomputes a view's buckets in an interval of event time from the archive, and publishes those days that are not what
 * the newest version holds. Answers which days those were.
 */
export async function backfillView(input: BackfillViewInput): Promise<BackfillViewResult> {
  requireInput(input);
  const { view, from, to, parallel = DAYS_AT_ONCE, force = false, sinceMs = runStartedMs() } = input;
  label({ kind: "backfill", view });
  let progress: BackfillProgress = { done: 0, days: 0 };
  setHandler(backfillProgress, () => progress);
  const { generation, stream, backfill, days, done, skipped } = await activities.planBackfill.executeWithOptions(
    { summary: "the interval by day" },
    [{ view, from, to }],
  );
  label({ stream });
  const before = new Set(done);
  const left = days.filter(({ day }) => !before.has(day));
  progress = { done: before.size, days: days.length };
  await inParallel(parallel, left, async (day) => {
    if (workflowInfo().continueAsNewSuggested) return;
    await activities.backfillDay.executeWithOptions({ summary: `states of ${day.day}` }, [
      { view: generation, backfill, day },
    ]);
    progress = { ...progress, done: progress.done + 1 };
    setCurrentDetails(`${progress.done} of ${progress.days} days`);
  });
  if (progress.done < progress.days) return continueAsNew<typeof backfillView>({ ...input, sinceMs });
  const result = await activities.finishBackfill.executeWithOptions({ summary: "comparison, publication" }, [
    { view: generation, backfill, days, force },
  ]);
  const seconds = secondsSince(sinceMs);
  if (result.version !== null)
    await activities.finishPublish.executeWithOptions({ summary: `pointer to version ${result.version}` }, [
      { view: generation, version: result.version, seconds },
    ]);
  await activities.clearBackfill.executeWithOptions({ summary: "files of the days" }, [
    { view: generation, name: backfill.name },
  ]);
  setCurrentDetails(outcome(result, seconds));
  return { ...result, skipped, seconds };
}

function outcome({ version, compared, days }: BackfillResult, seconds: number): string {
  const changed = days.filter(({ identical }) => !identical).length;
  const published = version === null ? "nothing published" : `version ${version}`;
  return `${published}: ${days.length - changed} days identical to version ${compared}, ${changed} not, in ${seconds} s`;
}

/** Input may have been typed by hand: what is wrong with it ends the run at once, and says what. */
function requireInput(input: Partial<Record<keyof BackfillViewInput, unknown>> | undefined): void {
  const { view, from, to, parallel = DAYS_AT_ONCE, force = false } = input ?? {};
  if (typeof view !== "string" || typeof from !== "string" || typeof to !== "string")
    throw refused('the input is not of the form {"view": "revenue", "from": "2026-01-01", "to": "2026-01-31"}');
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
