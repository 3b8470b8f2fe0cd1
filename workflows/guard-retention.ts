import { proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { Activities } from "../activities/activities.ts";
import { archiveStream } from "./archive-stream.ts";
import { label, STEP } from "./shared/run.ts";
import { startOrJoin } from "./shared/start-or-join.ts";

export interface GuardRetentionInput {
  readonly stream: string;
}

export interface GuardRetentionResult {
  /** Null: Kafka will delete nothing that is still needed. */
  readonly secondsLeft: number | null;
  /** Whether so little time was left that the stream was archived at once. */
  readonly close: boolean;
  readonly message: string;
}

const { checkRetention } = proxyActivities<Activities>(STEP);

/**
 * Finds out when Kafka will delete records of a stream that are still needed, and archives the stream if that is soon.
 */
export async function guardRetention({ stream }: GuardRetentionInput): Promise<GuardRetentionResult> {
  label({ kind: "retention", stream });
  const check = (summary: string) => checkRetention.executeWithOptions({ summary }, [{ stream }]);
  const found = await check("what Kafka keeps");
  setCurrentDetails(found.message);
  const { namespace, ...state } = found;
  if (!found.close) return state;
  const run = await startOrJoin({
    workflow: archiveStream,
    namespace,
    kind: "archive",
    target: stream,
    input: { stream },
  });
  const now = await check("what Kafka keeps, after the archive has run");
  setCurrentDetails(`${found.message}; ${run === null ? "the archive is running" : "archived"}: ${now.message}`);
  return { secondsLeft: now.secondsLeft, message: now.message, close: true };
}
