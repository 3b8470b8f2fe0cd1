import type { Client } from "@temporalio/client";
import { backgroundQueueOf } from "../../workflows/shared/names.ts";
import { pollersOf } from "../status/pollers.ts";
import { type Finding, ok, problem } from "./finding.ts";

/** Workflows that have steps on the queue of long work. */
export const LONG_WORKFLOWS = [
  "adoptView",
  "backfillView",
  "compactArchive",
  "compactViews",
  "dailyReport",
  "proveViews",
  "rebuildView",
];
const LONG_WORK = "compaction, backfills, rebuilds, first versions, proofs and reports";
/** No installation has more runs of long work at once. */
const MOST_RUNS = 50;
const STARTED = 2;

/** The state of the queue of long work. */
export interface LongWork {
  /** How many processes ask the queue for work. A process that is fully busy does not ask. */
  readonly asking: number;
  /** How many steps the processes are working on. */
  readonly underWay: number;
}

/** Checks that a process takes the long work that a worker puts in the background. */
export async function checkBackground(client: Client, taskQueue: string): Promise<Finding> {
  const queue = backgroundQueueOf(taskQueue);
  const asking = await pollersOf(client, queue, "activity");
  return backgroundFinding(queue, { asking, underWay: asking > 0 ? 0 : await stepsUnderWay(client, taskQueue) });
}

export function backgroundFinding(queue: string, { asking, underWay }: LongWork): Finding {
  const check = "temporal.background";
  if (asking > 0) return ok(check, `${asking} processes ask task queue ${queue} for long work`);
  if (underWay > 0) return ok(check, `all processes that ask task queue ${queue} for long work are busy`);
  return problem(
    check,
    `no process asks task queue ${queue} for long work: ${LONG_WORK} wait`,
    "Each `tideline worker` starts one. The lines of `worker-background` in its log say why there is none.",
  );
}

/**
 * Returns how many steps are running in workflows with long work. Such a workflow has short steps too, which the worker
 * itself does.
 */
export async function stepsUnderWay(client: Client, taskQueue: string): Promise<number> {
  const types = LONG_WORKFLOWS.map((name) => `'${name}'`).join(", ");
  const query = `TaskQueue = '${taskQueue}' AND ExecutionStatus = 'Running' AND WorkflowType IN (${types})`;
  let [runs, steps] = [0, 0];
  for await (const { workflowId, runId } of client.workflow.list({ query })) {
    // The run may have ended since.
    const described = await client.workflow
      .getHandle(workflowId, runId)
      .describe()
      .catch(() => null);
    steps += (described?.raw.pendingActivities ?? []).filter(({ state }) => state === STARTED).length;
    runs += 1;
    if (steps > 0 || runs === MOST_RUNS) break;
  }
  return steps;
}
