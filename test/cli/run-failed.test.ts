import { WorkflowFailedError } from "@temporalio/client";
import { ActivityFailure, ApplicationFailure, RetryState, TerminatedFailure } from "@temporalio/common";
import { expect, test } from "vitest";
import { explained } from "../../cli/runs/follow-run.ts";

const ended = (cause: Error) => new WorkflowFailedError("failed", cause, RetryState.NON_RETRYABLE_FAILURE);
const byActivity = (cause: Error) =>
  new ActivityFailure("Activity task failed", "planSettlement", "1", RetryState.NON_RETRYABLE_FAILURE, "w", cause);

test("a run that failed is explained with the hint of what failed, once", async () => {
  const hint = "Raise the topic's retention.ms.";
  const cause = ApplicationFailure.create({
    type: "LOG_LOST",
    message: `orders/0: Kafka has deleted [0, 7). ${hint}`,
    details: [{ hint }],
  });
  for (const error of [ended(cause), ended(byActivity(cause))])
    expect(await explained("settle/orders", error)).toMatchObject({
      code: "RUN_FAILED",
      message: "settle/orders failed: LOG_LOST: orders/0: Kafka has deleted [0, 7)",
      hint,
    });
});

test("a run that failed without a hint, or was ended, is seen in Temporal's UI", async () => {
  const says = expect.stringContaining("Temporal's UI") as string;
  for (const cause of [ApplicationFailure.create({ message: "m", details: ["other"] }), new TerminatedFailure("t")])
    expect(await explained("settle/orders", ended(cause))).toMatchObject({ code: "RUN_FAILED", hint: says });
});
