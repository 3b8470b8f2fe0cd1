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
  /** How far it is; a total of 0 while it does not know. */
  readonly progress: () => Promise<{ readonly done: number; readonly total: number }>;
}

const POLL_MS = 500;
/** How long Temporal may take for one answer. */
const ANSWER_MS = 5_000;
/** How long Temporal may be away while a command waits. A restart takes less. */
const AWAY_MS = 60_000;

/**
 * Shows how far a run is until it ends; `what` names what is counted. Null when `stop` is aborted first; the run goes
 * on then. No question to Temporal is open any more when this returns. Throws RUN_FAILED with what ended the run, and
 * NOT_READY when Temporal is away for a minute.
 */
export async function followRun<T>(
  client: Client,
  run: FollowedRun<T>,
  what: string,
  stop: AbortSignal,
): Promise<T | null> {
  const line = showProgress(what);
  // Short questions instead of one that waits: Temporal's client looks at the signal only when a call begins.
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
      // Without a worker nobody answers; the run waits for one, and so does this.
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
 * Why a run failed, as RUN_FAILED where that is known, with the hint of what failed; NOT_READY when Temporal did not
 * answer.
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

/** gRPC's codes for a server that did not answer: DEADLINE_EXCEEDED and UNAVAILABLE. */
const AWAY_CODES: readonly unknown[] = [4, 14];

function isAway(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    if ("code" in cause && AWAY_CODES.includes(cause.code)) return true;
  return false;
}
