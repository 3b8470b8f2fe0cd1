import { WorkflowNotFoundError } from "@temporalio/client";
import { failingRuns, type WorkPlace, withoutNamespace } from "../../activities/worker/failing-work.ts";
import { TidelineError } from "../../core/errors.ts";
import { taskQueueOf } from "../../workflows/shared/names.ts";
import type { Config } from "../setup/config.ts";
import { connectTemporal } from "../setup/temporal.ts";
import { instantText, print } from "../terminal/sheet.ts";

interface RunRow {
  readonly run: string;
  readonly workflow: string;
  /** When it began, ISO 8601. */
  readonly since: string;
  /** The step that fails again and again; null if there is none. */
  readonly problem: string | null;
}

/** Prints the running workflows of this installation, the newest first. */
export async function listRuns(config: Config, json: boolean): Promise<void> {
  const client = await connectTemporal(config);
  const place = placeOf(config);
  try {
    const problems = new Map(
      (await failingRuns(client, place)).map(({ name, code, message }) => [name, `${code}: ${message}`]),
    );
    const rows: RunRow[] = [];
    const query = `TaskQueue = '${place.taskQueue}' AND ExecutionStatus = 'Running'`;
    for await (const { workflowId, type, startTime } of client.workflow.list({ query })) {
      const run = withoutNamespace(place, workflowId);
      rows.push({ run, workflow: type, since: startTime.toISOString(), problem: problems.get(run) ?? null });
    }
    const sheet = {
      head: ["run", "workflow", "since", "problem"],
      right: [],
      rows: rows.map(({ run, workflow, since, problem }) => [
        run,
        workflow,
        instantText(Date.parse(since)),
        problem ?? "-",
      ]),
    };
    await print(json, rows, sheet, "nothing runs just now");
  } finally {
    await client.connection.close();
  }
}

/** Terminates a run; `name` may have the namespace or not. Throws RUN_UNKNOWN if no run of this name is running. */
export async function endRun(config: Config, name: string, reason: string): Promise<void> {
  const { namespace } = config;
  const client = await connectTemporal(config);
  try {
    const id = namespace === "" || name.startsWith(`${namespace}/`) ? name : `${namespace}/${name}`;
    await client.workflow.getHandle(id).terminate(reason);
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    throw new TidelineError("RUN_UNKNOWN", `no run "${name}" is under way`, "`tideline runs` lists them.", {
      cause: error,
    });
  } finally {
    await client.connection.close();
  }
}

function placeOf({ namespace }: Config): WorkPlace {
  return { namespace, taskQueue: taskQueueOf(namespace), viewsOf: () => [] };
}
