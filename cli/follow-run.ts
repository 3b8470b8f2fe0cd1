import { once } from "node:events";
import { TidelineError } from "../core/errors.ts";
import { showProgress } from "./progress.ts";

/** A workflow's run that a command waits for. */
export interface FollowedRun<T> {
  readonly workflowId: string;
  result(): Promise<T>;
  /** How far it is; a total of 0 while it does not know. */
  progress(): Promise<{ readonly done: number; readonly total: number }>;
}

const POLL_MS = 500;

/**
 * Shows how far a run is until it ends; `what` names what is counted. Null when `stop` is aborted first, which leaves the run alone; a question
 * that is still open then ends with the connection. Throws RUN_FAILED with what ended it.
 */
export async function followRun<T>(run: FollowedRun<T>, what: string, stop: AbortSignal): Promise<T | null> {
  const line = showProgress(what);
  // Not `client.withAbortSignal`: it adds a listener to the signal with every call, and removes none.
  const stopped = once(stop, "abort").then(() => null);
  const result = run.result();
  result.catch(() => {}); // after `stop` nobody waits for it
  let asking = false;
  const poll = setInterval(async () => {
    // Without a worker nobody answers; the run waits for one, and so does this.
    if (asking) return;
    asking = true;
    const { done, total } = await run.progress().catch(() => ({ done: 0, total: 0 }));
    if (total > 0) line.update(done, total);
    asking = false;
  }, POLL_MS);
  try {
    return stop.aborted ? null : await Promise.race([result, stopped]);
  } catch (error) {
    if (stop.aborted) return null;
    throw await explained(run.workflowId, error);
  } finally {
    clearInterval(poll);
    line.stop();
  }
}

async function explained(workflowId: string, error: unknown): Promise<unknown> {
  const { ApplicationFailure, CancelledFailure, TerminatedFailure } = await import("@temporalio/common");
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const how =
      cause instanceof ApplicationFailure
        ? `failed: ${cause.type ?? "Error"}: ${cause.message}`
        : cause instanceof CancelledFailure
          ? "was cancelled"
          : cause instanceof TerminatedFailure
            ? "was terminated"
            : null;
    if (how !== null)
      return new TidelineError("RUN_FAILED", `${workflowId} ${how}`, "Temporal's UI shows each of its steps.", {
        cause: error,
      });
  }
  return error;
}
