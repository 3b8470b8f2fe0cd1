import type { Client } from "@temporalio/client";
import { type Failure, SAME_REASON } from "../../core/failures.ts";
import type { ProveViewsResult } from "../../workflows/prove-views.ts";
import type { WorkPlace } from "./failing-work.ts";

/** The last run that was read, and its result, which does not change any more. */
interface ReadRun {
  readonly runId: string;
  readonly failures: readonly Failure[];
}

/** Reads the results of the newest proofs from Temporal. */
export class FailingProofs {
  #read: ReadRun | null = null;

  /** Returns the views whose answers differed from the raw log in the newest ended run. */
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
      message: `${mismatches} values differ from the raw log, in ${fields.join(", ")}`,
      hint: `\`tideline proof ${view}\` names rows, fields and both values. Keep the data directory and report it.`,
      failures: SAME_REASON,
    }));
}
