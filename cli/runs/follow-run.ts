import type { Client } from "@temporalio/client";
import type { ApplicationFailure } from "@temporalio/common";
import { saidBy } from "../../activities/said-by.ts";
import { TidelineError } from "../../core/errors.ts";
import { pause } from "../../store/pause.ts";
import { showProgress } from "../terminal/progress.ts";

/** A workflow's run that a command waits for. */
export interface FollowedRun<T> {
  readonly handle: {
    readonly workflowId: string;
    describe(): Promise<{ readonly status: { readonly name: string } }>;
    result(): Promise<T>;
  };
  /** Returns the progress of the run; the total is 0 while it is unknown. */
  readonly progress: () => Promise<{ readonly done: number; readonly total: number }>;
}

const POLL_MS = 500;
/** How long one request to Temporal may take. */
const ANSWER_MS = 5_000;
/** How long Temporal may be away while a command waits. A restart takes less. */
const AWAY_MS = 60_000;

/**
 * Shows the progress of a run until it ends; `what` names the things that are counted. Returns null if `stop` is
 * aborted first, and the run continues. When this returns, no request to Temporal is open. Throws RUN_FAILED with the
 * reason of the run's end, and NOT_READY when Temporal is away for a minute.
 */
export async function followRun<T>(
  client: Client,
  run: FollowedRun<T>,
  what: string,
  stop: AbortSignal,
): Promise<T | null> {
  const line = showProgress(what);
  // Asks again and again instead of waiting in one call: Temporal's client checks the signal only when a call begins.
  const ask = <A>(question: () => Promise<A>): Promise<A> =>
    client.withAbortSignal(AbortSignal.any([stop]), () => client.withDeadline(Date.now() + ANSWER_MS, question));
  let answeredMs = performance.now();
  try {
    while (!stop.aborted) {
      try {
        const { status } = await ask(() => run.handle.describe());
        answeredMs = performance.now();
        if (status.name !== "RUNNING") return await ask(() => run.handle.result());
      } catch (error) {
        if (stop.aborted) break;
        if (!isAway(error) || performance.now() - answeredMs > AWAY_MS)
          throw await explained(run.handle.workflowId, error);
      }
      // Without a worker no request for progress is answered. The run waits for a worker, and so does this.
      const { done, total } = await ask(run.progress).catch(() => ({ done: 0, total: 0 }));
      if (total > 0) line.update(done, total);
      await pause(POLL_MS, { signal: stop });
    }
    return null;
  } finally {
    line.stop();
  }
}

const UI_HINT = "Temporal's UI shows each of its steps.";

/**
 * Returns why a run failed: RUN_FAILED with the hint of the step that failed, if that is known; NOT_READY when Temporal
 * did not answer.
 */
export async function explained(workflowId: string, error: unknown): Promise<unknown> {
  const { ApplicationFailure, CancelledFailure, TerminatedFailure } = await import("@temporalio/common");
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const [how, hint] =
      cause instanceof ApplicationFailure
        ? failed(cause)
        : cause instanceof CancelledFailure
          ? ["was cancelled", UI_HINT]
          : cause instanceof TerminatedFailure
            ? ["was terminated", UI_HINT]
            : [null, UI_HINT];
    if (how !== null) return new TidelineError("RUN_FAILED", `${workflowId} ${how}`, hint, { cause: error });
  }
  if (!isAway(error)) return error;
  const hint = "The run continues without this command. Start Temporal, then repeat the command: it joins the run.";
  return new TidelineError("NOT_READY", `Temporal does not answer any more about ${workflowId}`, hint, {
    cause: error,
  });
}

function failed(cause: ApplicationFailure): readonly [string, string] {
  const { message, hint } = saidBy(cause, UI_HINT);
  return [`failed: ${cause.type ?? "Error"}: ${message}`, hint];
}

/** gRPC codes for a server that did not answer: DEADLINE_EXCEEDED and UNAVAILABLE. */
const AWAY_CODES: readonly unknown[] = [4, 14];

function isAway(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if ("code" in cause && AWAY_CODES.includes(cause.code)) return true;
  return false;
}
