import { ApplicationFailure, setCurrentDetails } from "@temporalio/workflow";
import { archiveStream } from "./archive-stream.ts";
import type { Kind } from "./names.ts";
import { refreshView } from "./refresh-view.ts";
import { label } from "./run.ts";
import { startOrJoin } from "./start-or-join.ts";

export interface ScheduledRunInput {
  readonly kind: Kind;
  readonly target: string;
  readonly namespace: string;
}

/**
 * A schedule appends a time to its runs' ids, so they exclude nothing: this starts the work under its plain id, or
 * finds that it runs already.
 */
export async function scheduledRun(input: ScheduledRunInput): Promise<"ran" | "joined"> {
  label({ kind: "scheduled", [input.kind === "archive" ? "stream" : "view"]: input.target });
  const run = await start(input);
  const how = run === null ? "joined" : "ran";
  setCurrentDetails(`${how} ${input.kind}/${input.target}`);
  return how;
}

function start({ kind, target, namespace }: ScheduledRunInput) {
  switch (kind) {
    case "archive":
      return startOrJoin({ workflow: archiveStream, namespace, kind, target, input: { stream: target } });
    case "refresh":
      return startOrJoin({ workflow: refreshView, namespace, kind, target, input: { view: target, namespace } });
    case "rebuild":
      throw ApplicationFailure.nonRetryable("a rebuild is started by hand", "BAD_REQUEST");
  }
}
