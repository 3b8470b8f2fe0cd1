import type { Client, WorkflowHandleWithStartDetails } from "@temporalio/client";
import type { Command } from "commander";
import type { RebuildViewResult, rebuildView } from "../../workflows/rebuild-view.ts";
import { loadConfig } from "../setup/config.ts";
import { findView } from "../setup/definitions.ts";
import { connectTemporal } from "../setup/temporal.ts";

type Rebuild = WorkflowHandleWithStartDetails<typeof rebuildView>;

/** Adds `tideline rebuild`. */
export function registerRebuild(program: Command): void {
  program
    .command("rebuild")
    .addHelpText("after", "\nExamples:\n  $ tideline rebuild revenue\n  $ tideline rebuild revenue --json\n")
    .description(
      "rebuild a view from the whole archive, publish that, and say whether it equals the sum of the settlements",
    )
    .argument("<view>", "the view's name")
    .option("--json", "print the result as JSON")
    .option("--no-wait", "start it and return")
    .action(async (view: string, { json = false, wait }: { json?: boolean; wait: boolean }) => {
      const config = loadConfig(process.env);
      await findView(config, view);
      const client = await connectTemporal(config);
      try {
        const handle = await startOrJoin(client, config.namespace, view);
        process.stderr.write(`${handle.workflowId} runs\n`);
        if (!wait) return;
        const result = await follow(client, handle);
        if (result === null) return;
        process.stdout.write(json ? `${JSON.stringify({ view, ...result })}\n` : resultText(view, result));
        if (!result.equal) process.exitCode = 1;
      } finally {
        await client.connection.close();
      }
    });
}

async function startOrJoin({ workflow }: Client, namespace: string, view: string): Promise<Rebuild> {
  const { executionTimeoutMs, SUMMARIES, taskQueueOf, workId } = await import("../../workflows/shared/names.ts");
  return workflow.start<typeof rebuildView>("rebuildView", {
    workflowId: workId(namespace, "rebuild", view),
    workflowIdConflictPolicy: "USE_EXISTING",
    taskQueue: taskQueueOf(namespace),
    args: [{ view }],
    staticSummary: SUMMARIES.rebuild(view),
    workflowExecutionTimeout: executionTimeoutMs("rebuild"),
  });
}

/** Returns the result of the rebuild; null if Ctrl+C came first, which leaves the rebuild running. */
async function follow(client: Client, handle: Rebuild): Promise<RebuildViewResult | null> {
  const { rebuildProgress } = await import("../../workflows/rebuild-view.ts");
  const { interruptible } = await import("../terminal/progress.ts");
  const { followRun } = await import("../runs/follow-run.ts");
  const run = {
    handle,
    progress: async () => {
      const { done, parts } = await handle.query(rebuildProgress);
      return { done, total: parts };
    },
  };
  return interruptible((stop) => followRun(client, run, "parts of the archive", stop));
}

function resultText(
  view: string,
  { version, compared, rows, seconds, equal, hash, comparedHash }: RebuildViewResult,
): string {
  const verdict = equal
    ? `identical to version ${compared}: ${hash}`
    : comparedHash === null
      ? `version ${compared} was damaged: nothing to compare ${hash} with`
      : `NOT what version ${compared} held: ${hash} from the archive, ${comparedHash} before`;
  return `${view}: version ${version}, ${rows} state rows in ${seconds} s\n${verdict}\n`;
}
