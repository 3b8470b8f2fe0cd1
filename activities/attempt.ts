import { Context } from "@temporalio/activity";
import { ApplicationFailure, CancelledFailure } from "@temporalio/common";
import type { Logger } from "pino";
import type { Progress, Watch } from "../batch-layer/stores.ts";
import { isTidelineError, mayPass, sentencesOf } from "../core/errors.ts";
import type { BatchMetrics } from "./metrics.ts";

/**
 * A single statement of DuckDB can take longer than a heartbeat may be late. So heartbeats come from a timer, and only
 * the activity's own time limit ends a hang.
 */
const BEAT_MS = 2_000;

export interface AttemptDeps {
  readonly metrics: BatchMetrics;
  readonly logger: Logger;
}

/**
 * Runs one attempt at an activity. Sends heartbeats with the step's progress, gives up when the workflow does, and
 * gives errors their code.
 */
export async function attempt<T>({ metrics, logger }: AttemptDeps, work: (watch: Watch) => Promise<T>): Promise<T> {
  const context = Context.current();
  const { activityType, workflowExecution, attempt: number } = context.info;
  let latest: Progress = {};
  const beat = (progress: Progress) => {
    latest = progress;
    context.heartbeat(progress);
  };
  const timer = setInterval(() => context.heartbeat(latest), BEAT_MS);
  try {
    return await work({ signal: context.cancellationSignal, beat });
  } catch (error) {
    if (error instanceof CancelledFailure || context.cancellationSignal.aborted) throw error;
    const code = isTidelineError(error) ? error.code : "UNEXPECTED";
    metrics.failures.inc({ activity: activityType, code });
    const { message } = error as Error;
    logger.warn(
      { activity: activityType, workflowId: workflowExecution?.workflowId, attempt: number, code, error: message },
      "activity failed",
    );
    throw failureOf(error);
  } finally {
    clearInterval(timer);
  }
}

/**
 * Returns an error in Temporal's form. An error that another attempt cannot cure ends the run at once, under its code.
 */
function failureOf(error: unknown): unknown {
  if (!isTidelineError(error)) return error;
  const { code, hint } = error;
  return ApplicationFailure.create({
    type: code,
    message: sentencesOf(error),
    nonRetryable: !mayPass(error),
    details: [{ hint }],
    cause: error,
  });
}

/** Returns the current run, in the form of a manifest's `createdBy`: `settle/orders/<run id>`. */
export function thisRun(): { readonly run: string; readonly createdBy: string } {
  const execution = Context.current().info.workflowExecution;
  const run = execution?.runId ?? "";
  return { run, createdBy: `${execution?.workflowId}/${run}` };
}
