import { defineSearchAttributeKey, SearchAttributeType } from "@temporalio/common";
import { type ActivityOptions, upsertSearchAttributes, workflowInfo } from "@temporalio/workflow";
import { SEARCH_ATTRIBUTES } from "./names.ts";

/** What every run has in common: how it is found, how its steps are retried, how it says what it did. */

const KEYS = {
  view: defineSearchAttributeKey(SEARCH_ATTRIBUTES.view, SearchAttributeType.KEYWORD),
  stream: defineSearchAttributeKey(SEARCH_ATTRIBUTES.stream, SearchAttributeType.KEYWORD),
  kind: defineSearchAttributeKey(SEARCH_ATTRIBUTES.kind, SearchAttributeType.KEYWORD),
};

/** Sets the run's search attributes, whoever started it. */
export function label(attributes: Partial<Record<keyof typeof KEYS, string>>): void {
  upsertSearchAttributes(
    (["view", "stream", "kind"] as const).flatMap((name) =>
      attributes[name] === undefined ? [] : [{ key: KEYS[name], value: attributes[name] }],
    ),
  );
}

/**
 * A worker that was killed is noticed when its heartbeat is overdue. The attempts last for some minutes: a server's
 * restart. What lasts longer ends the run, for the next one to begin with a fresh look.
 */
export const STEP: ActivityOptions = {
  startToCloseTimeout: "1 hour",
  heartbeatTimeout: "10 seconds",
  retry: { initialInterval: "1 second", maximumInterval: "30 seconds", maximumAttempts: 15 },
};

/** Seconds since the run began, to a tenth. Inside a workflow this clock is Temporal's. */
export function secondsSince(startedMs: number): number {
  return Math.round((Date.now() - startedMs) / 100) / 10;
}

export function runStartedMs(): number {
  return workflowInfo().runStartTime.getTime();
}
