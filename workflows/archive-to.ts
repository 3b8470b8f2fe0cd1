import { proxyActivities, sleep } from "@temporalio/workflow";
import type { Activities } from "../activities/activities.ts";
import type { CutJson } from "../core/position.ts";
import { archiveStream } from "./archive-stream.ts";
import { STEP } from "./run.ts";
import { startOrJoin } from "./start-or-join.ts";

const { planArchive } = proxyActivities<Activities>(STEP);

/**
 * Returns when a stream is archived up to `target`. The archive is one piece of work however many wait for it; whoever finds it running
 * looks again a second later.
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
    });
    if (run === null) await sleep("1 second");
    else return;
  }
}
