import { ChildWorkflowFailure, proxyActivities, sleep, TimeoutFailure } from "@temporalio/workflow";
import type { Activities } from "../activities/activities.ts";
import type { CutJson } from "../core/log/position.ts";
import { archiveStream } from "./archive-stream.ts";
import { STEP } from "./shared/run.ts";
import { startOrJoin } from "./shared/start-or-join.ts";

const { planArchive } = proxyActivities<Activities>(STEP);

/**
 * Returns when a stream is archived up to `target`. Only one run archives a stream, however many others wait for it:
 * they look again a second later. After a long outage that run may reach its time limit. The next one continues after
 * the chunks that are done.
 */
export async function archiveTo(stream: string, namespace: string, target: CutJson): Promise<void> {
  for (;;) {
    const { chunks } = await planArchive.executeWithOptions({ summary: "is it archived?" }, [{ stream, target }]);
    if (chunks.length === 0) return;
    const run = await startOrJoin({
      workflow: archiveStream,
      namespace,
      kind: "archive",
      target: stream,
      input: { stream, target },
    }).catch(whenTimedOut);
    if (run === "timed out") continue;
    if (run === null) await sleep("1 second");
    else return;
  }
}

function whenTimedOut(error: unknown): "timed out" {
  if (error instanceof ChildWorkflowFailure && error.cause instanceof TimeoutFailure) return "timed out";
  throw error;
}
