import { defineSearchAttributeKey, SearchAttributeType } from "@temporalio/common";
import {
  ActivityFailure,
  type ActivityInterfaceFor,
  type ActivityOptions,
  ApplicationFailure,
  proxyActivities,
  TimeoutFailure,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import type { BackgroundActivities } from "../../activities/activities.ts";
import { backgroundQueueOf, SEARCH_ATTRIBUTES } from "./names.ts";

/** What all runs share: search attributes, retries of steps, and failures for people. */

const KEYS = {
  view: defineSearchAttributeKey(SEARCH_ATTRIBUTES.view, SearchAttributeType.KEYWORD),
  stream: defineSearchAttributeKey(SEARCH_ATTRIBUTES.stream, SearchAttributeType.KEYWORD),
  kind: defineSearchAttributeKey(SEARCH_ATTRIBUTES.kind, SearchAttributeType.KEYWORD),
};

/** Sets the run's search attributes. */
export function label(attributes: Partial<Record<keyof typeof KEYS, string>>): void {
  upsertSearchAttributes(
    (["view", "stream", "kind"] as const).flatMap((name) =>
      attributes[name] === undefined ? [] : [{ key: KEYS[name], value: attributes[name] }],
    ),
  );
}

/**
 * A missing heartbeat shows that a worker was killed. The attempts go on for some minutes, which is enough for the
 * restart of a server. A longer outage ends the run, and the next one reads the state again.
 */
export const STEP: ActivityOptions = {
  startToCloseTimeout: "1 hour",
  heartbeatTimeout: "10 seconds",
  retry: { initialInterval: "1 second", maximumInterval: "30 seconds", maximumAttempts: 15 },
};

/**
 * Returns activities on the queue of a worker's process of low priority: long work that nobody waits for by the second.
 */
export function inBackground(): ActivityInterfaceFor<BackgroundActivities> {
  return proxyActivities<BackgroundActivities>({ ...STEP, taskQueue: backgroundQueueOf(workflowInfo().taskQueue) });
}

const MAX_MESSAGE = 300;

/**
 * Returns why a step failed that is not tried again: a code of `ErrorCode`, TIMED_OUT or UNEXPECTED, and a message for
 * people.
 */
export function stepFailure(error: unknown): { readonly code: string; readonly message: string } {
  const cause = error instanceof ActivityFailure ? (error.cause ?? error) : error;
  const message = (cause instanceof Error ? cause.message : String(cause)).slice(0, MAX_MESSAGE);
  if (cause instanceof TimeoutFailure) return { code: "TIMED_OUT", message };
  // The type of an error without a code is the name of its class.
  const type = cause instanceof ApplicationFailure ? (cause.type ?? "") : "";
  return { code: /^[A-Z][A-Z_]+$/.test(type) ? type : "UNEXPECTED", message };
}

/** Returns the seconds since the run began, to a tenth. Inside a workflow this clock is Temporal's. */
export function secondsSince(startedMs: number): number {
  return Math.round((Date.now() - startedMs) / 100) / 10;
}

export function runStartedMs(): number {
  return workflowInfo().runStartTime.getTime();
}
