import { setMaxListeners } from "node:events";
import type { Client } from "@temporalio/client";
import { TidelineError } from "../../core/errors.ts";
import { showProgress } from "../terminal/progress.ts";

/** A workflow's run that a command waits for. */
export interface FollowedRun<T> {
  readonly workflowId: string;
  result(): Promise<T>;
  /** How far it is; a total of 0 while it does not know. */
  readonly progress: () => Promise<{ readonly done: number; readonly total: number }>;
}

const POLL_MS = 500;

/**
 * Shows how far a run is until it ends; `what` names what is counted. Null when `stop` is aborted first, which ends the
 * questions to Temporal and leaves the run alone. Throws RUN_FAILED with what ended it.
 */
export async function followRun<T>(
  client: Client,
  run: FollowedRun<T>,
  what: string,
  stop: AbortSignal,
): Promise<T | null> {
  const line = showProgress(what);
  // Temporal's client adds a listener to the signal with every call, and removes none. So each question has a signal of
  // its own, and that of the result, which is asked for again every minute or so, may have many.
  const whole = AbortSignal.any([stop]);
  setMaxListeners(0, whole);
  let asking = false;
  const poll = setInterval(async () => {
    // Without a worker nobody answers; the run waits for one, and so does this.
    if (asking) return;
    asking = true;
    const unknown = () => ({ done: 0, total: 0 });
    const { done, total } = await client.withAbortSignal(AbortSignal.any([stop]), run.progress).catch(unknown);
    if (total > 0) line.update(done, total);
    asking = false;
  }, POLL_MS);
  try {
    return await client.withAbortSignal(whole, () => run.result());
  } catch (error) {
    if (stop.aborted) return null;
    throw await explained(run.workflowId, error);
  } finally {
    clearInterval(poll);
    line.stop();
  }
}

/** Why a run failed, as RUN_FAILED where that is known. */
export async function explained(workflowId: string, error: unknown): Promise<unknown> {
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
