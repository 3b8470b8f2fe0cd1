import type { Client, WorkflowHandleWithStartDetails } from "@temporalio/client";
import type { Command } from "commander";
import { TidelineError } from "../../core/errors.ts";
import type { RebuildViewResult, rebuildView } from "../../workflows/rebuild-view.ts";
import { type Config, loadConfig } from "../config.ts";

type Rebuild = WorkflowHandleWithStartDetails<typeof rebuildView>;

const POLL_MS = 500;

/** Adds `tideline rebuild`. */
export function registerRebuild(program: Command): void {
  program
    .command("rebuild")
    .description(
      "build a view anew from the whole archive, publish that, and say whether it is what the refreshes had added up",
    )
    .argument("<view>", "the view's name")
    .option("--json", "print the result as JSON")
    .option("--no-wait", "start it and return")
    .action(async (view: string, { json = false, wait }: { json?: boolean; wait: boolean }) => {
      const config = loadConfig(process.env);
      await requireView(config, view);
      const client = await connect(config);
      try {
        const handle = await startOrJoin(client, config.namespace, view);
        process.stderr.write(`${handle.workflowId} runs\n`);
        if (!wait) return;
        const result = await follow(handle);
        process.stdout.write(json ? `${JSON.stringify({ view, ...result })}\n` : resultText(view, result));
        if (!result.equal) process.exitCode = 1;
      } finally {
        await client.connection.close();
      }
    });
}

async function requireView({ views }: Config, view: string): Promise<void> {
  const { loadDefinitions } = await import("../../store/definitions.ts");
  const known = [...(await loadDefinitions(views)).views.keys()];
  if (!known.includes(view))
    throw new TidelineError("VIEW_UNKNOWN", `there is no view "${view}"`, `Take one of: ${known.join(", ")}.`);
}

async function connect({ temporalAddress: address, temporalNamespace: namespace }: Config): Promise<Client> {
  const { Client, Connection } = await import("@temporalio/client");
  const connection = await Connection.connect({ address }).catch((cause: unknown) => {
    throw new TidelineError(
      "NOT_READY",
      `Temporal does not answer at ${address}`,
      "Start the servers with `tideline up`, or set TEMPORAL_ADDRESS to the Temporal that runs.",
      { cause },
    );
  });
  return new Client({ connection, namespace });
}

async function startOrJoin({ workflow }: Client, namespace: string, view: string): Promise<Rebuild> {
  const { SUMMARIES, taskQueueOf, workId } = await import("../../workflows/names.ts");
  return workflow.start<typeof rebuildView>("rebuildView", {
    workflowId: workId(namespace, "rebuild", view),
    workflowIdConflictPolicy: "USE_EXISTING",
    taskQueue: taskQueueOf(namespace),
    args: [{ view }],
    staticSummary: SUMMARIES.rebuild(view),
  });
}

/** Shows how far it is until it ends. Throws what ended it, under its code. */
async function follow(handle: Rebuild): Promise<RebuildViewResult> {
  const { rebuildProgress } = await import("../../workflows/rebuild-view.ts");
  const { showProgress } = await import("../progress.ts");
  const progress = showProgress("parts of the archive");
  const poll = setInterval(() => {
    // Without a worker nobody answers; the run waits for one, and so does this.
    handle.query(rebuildProgress).then(
      ({ done, parts }) => parts > 0 && progress.update(done, parts),
      () => {},
    );
  }, POLL_MS);
  try {
    return await handle.result();
  } catch (error) {
    throw await explained(error);
  } finally {
    clearInterval(poll);
    progress.stop();
  }
}

async function explained(error: unknown): Promise<unknown> {
  const { ApplicationFailure } = await import("@temporalio/common");
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ApplicationFailure)
      return new Error(`the rebuild failed: ${cause.type ?? "Error"}: ${cause.message}`);
  }
  return error;
}

function resultText(
  view: string,
  { version, compared, rows, seconds, equal, hash, comparedHash }: RebuildViewResult,
): string {
  const verdict = equal
    ? `identical to version ${compared}: ${hash}`
    : `NOT what version ${compared} held: ${hash} from the archive, ${comparedHash} before`;
  return `${view}: version ${version}, ${rows} state rows in ${seconds} s\n${verdict}\n`;
}
