import { proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../../activities/activities.ts";
import { STEP } from "../../workflows/shared/run.ts";

const { planArchive, sweepArchive } = proxyActivities<Activities>(STEP);

/** The archive's workflow with its steps in another order: what a careless change would be. */
export async function archiveStream({ stream }: { stream: string }): Promise<unknown> {
  await sweepArchive.executeWithOptions({ summary: "files of killed attempts" }, [{ stream, topicId: "" }]);
  return planArchive.executeWithOptions({ summary: `what is left of ${stream}` }, [{ stream, target: null }]);
}
