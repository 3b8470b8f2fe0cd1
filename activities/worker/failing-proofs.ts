import type { Client } from "@temporalio/client";
import { type Failure, SAME_REASON } from "../../core/failures.ts";
import type { ProveViewsResult } from "../../workflows/prove-views.ts";
import type { WorkPlace } from "./failing-work.ts";

/** The run that was read last, and what it found: it does not change any more. */
interface ReadRun {
  readonly runId: string;
  readonly failures: readonly Failure[];
}

/** What the newest proofs of all views have found, as Temporal has it. */
export class FailingProofs {
  #read: ReadRun | null = null;

  /** The views whose answers were not what the raw log says, in the newest run that has ended. */
  async find(client: Client, { taskQueue }: WorkPlace, nowMs = Date.now()): Promise<readonly Failure[]> {
    const query = `TaskQueue = '${taskQueue}' AND WorkflowType = 'proveViews' AND ExecutionStatus = 'Completed'`;
    for await (const { workflowId, runId, closeTime } of client.workflow.list({ query, pageSize: 1 })) {
      if (this.#read?.runId === runId) break;
      const handle = client.workflow.getHandle(workflowId, runId, { followRuns: false });
      const { others } = (await handle.result()) as ProveViewsResult;
      this.#read = { runId, failures: differing(others, closeTime?.getTime() ?? nowMs) };
      break;
    }
    return (this.#read?.failures ?? []).map((failure) => ({ ...failure, atMs: nowMs }));
  }
}

function differing(found: ProveViewsResult["others"], sinceMs: number): Failure[] {
  return found
    .filter(({ equal }) => equal === false)
    .map(({ view, mismatches, fields }) => ({
      ...({ kind: "proof", name: view, views: [], code: "PROOF_DIFFERS", sinceMs, atMs: sinceMs } as const),
      message: `${mismatches} values are not what the raw log says, in ${fields.join(", ")}`,
      hint: `\`tideline proof ${view}\` names rows, fields and both values. Keep the data directory and report it.`,
      failures: SAME_REASON,
    }));
}
