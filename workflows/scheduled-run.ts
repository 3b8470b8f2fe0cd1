import { defineSearchAttributeKey, SearchAttributeType } from "@temporalio/common";
import { ApplicationFailure, setCurrentDetails, workflowInfo } from "@temporalio/workflow";
import { compactArchive } from "./compact-archive.ts";
import { dailyReport, nightlyReport } from "./daily-report.ts";
import { guardRetention } from "./guard-retention.ts";
import { proveViews } from "./prove-views.ts";
import { retireGenerations } from "./retire-generations.ts";
import { settleStream } from "./settle-stream.ts";
import { type Kind, STREAM_KINDS } from "./shared/names.ts";
import { label } from "./shared/run.ts";
import { startOrJoin } from "./shared/start-or-join.ts";

/** Set by Temporal itself. */
const SCHEDULED_AT = defineSearchAttributeKey("TemporalScheduledStartTime", SearchAttributeType.DATETIME);

export interface ScheduledRunInput {
  readonly kind: Kind;
  readonly target: string;
  readonly namespace: string;
}

/**
 * Starts the scheduled work under its plain id, or finds that it is already running. The run of a schedule cannot be
 * the work itself: a schedule appends a time to its runs' ids, so their ids do not exclude each other.
 */
export async function scheduledRun(input: ScheduledRunInput): Promise<"ran" | "joined"> {
  label({ kind: "scheduled", ...subjectOf(input) });
  const run = await start(input);
  const how = run === null ? "joined" : "ran";
  setCurrentDetails(`${how} ${input.kind}/${input.target}`);
  return how;
}

function subjectOf({ kind, target }: ScheduledRunInput): { stream?: string } {
  return STREAM_KINDS.some((streamKind) => streamKind === kind) ? { stream: target } : {};
}

function start({ kind, target, namespace }: ScheduledRunInput) {
  switch (kind) {
    case "settle":
      return startOrJoin({ workflow: settleStream, namespace, kind, target, input: { stream: target } });
    case "compact-archive":
      return startOrJoin({ workflow: compactArchive, namespace, kind, target, input: { stream: target } });
    case "retention":
      return startOrJoin({ workflow: guardRetention, namespace, kind, target, input: { stream: target } });
    case "retire":
      return startOrJoin({ workflow: retireGenerations, namespace, kind, target, input: undefined });
    case "prove":
      return startOrJoin({ workflow: proveViews, namespace, kind, target, input: {} });
    case "report": {
      const input = nightlyReport(scheduledMs());
      return startOrJoin({ workflow: dailyReport, namespace, kind, target: `${target}/${input.date}`, input });
    }
    case "archive":
    case "compact":
    case "rebuild":
    case "backfill":
    case "delivery":
    case "adopt":
      throw ApplicationFailure.nonRetryable(`a ${kind} is started by hand`, "BAD_REQUEST");
  }
}

/** Returns the time at which the schedule meant this run to begin, however late it begins. */
function scheduledMs(): number {
  const scheduled = workflowInfo().typedSearchAttributes.get(SCHEDULED_AT);
  if (scheduled !== undefined) return scheduled.getTime();
  throw ApplicationFailure.nonRetryable(
    "only a schedule says which day is meant; start dailyReport with a date",
    "BAD_REQUEST",
  );
}
