import type { Client } from "@temporalio/client";
import type { Command } from "commander";
import { TidelineError } from "../../core/errors.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import type { SettleStreamResult, settleStream } from "../../workflows/settle-stream.ts";
import { loadConfig } from "../setup/config.ts";
import { connectTemporal } from "../setup/temporal.ts";

type Settled = SettleStreamResult["views"][number];

/** Adds `tideline settle`. */
export function registerSettle(program: Command): void {
  program
    .command("settle")
    .description("publish the next versions of views now, and wait for it; this happens by itself while events flow")
    .argument("[names...]", "views or streams; all when there are none")
    .option("--json", "print the results as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tideline settle                  every stream\n  $ tideline settle revenue          one view\n  $ tideline settle order-completed  every view of a stream\n",
    )
    .action(async (names: string[], { json = false }: { json?: boolean }) => {
      const config = loadConfig(process.env);
      const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
      const { interruptible } = await import("../terminal/progress.ts");
      const wanted = wantedOf(names, await loadDefinitions(config));
      const client = await connectTemporal(config);
      try {
        const work = [...wanted].map(([stream, views]) => settled(client, config.namespace, stream, views));
        const found = await interruptible(async (stop) =>
          Promise.race([
            Promise.allSettled(work),
            new Promise<null>((resolve) => stop.addEventListener("abort", () => resolve(null))),
          ]),
        );
        if (found === null) return;
        const done = found.flatMap((one) => (one.status === "fulfilled" ? one.value.views : []));
        process.stdout.write(json ? `${JSON.stringify(done)}\n` : shown(done));
        const failed = found.find((one) => one.status === "rejected");
        if (failed !== undefined) throw failed.reason;
      } finally {
        await client.connection.close();
      }
    });
}

/** Streams, and of each the views that are wanted; undefined for all. Throws VIEW_UNKNOWN. */
function wantedOf(names: readonly string[], { views, streams }: Definitions): Map<string, string[] | undefined> {
  const wanted = new Map<string, string[] | undefined>();
  for (const name of names.length === 0 ? streams.keys() : names) {
    const stream = views.get(name)?.view.stream.name;
    if (stream !== undefined) {
      const others = wanted.get(stream);
      if (!wanted.has(stream) || others !== undefined) wanted.set(stream, [...(others ?? []), name]);
    } else if (streams.has(name)) wanted.set(name, undefined);
    else {
      const known = [...views.keys(), ...streams.keys()].join(", ");
      throw new TidelineError("VIEW_UNKNOWN", `there is no view or stream "${name}"`, `Take some of: ${known}.`);
    }
  }
  return wanted;
}

/** Has a round begun after now, in the run under way or in a new one, and waits for it. Throws RUN_FAILED. */
async function settled(
  client: Client,
  namespace: string,
  stream: string,
  views: readonly string[] | undefined,
): Promise<SettleStreamResult> {
  const { WithStartWorkflowOperation } = await import("@temporalio/client");
  const { settlementStart } = await import("../../workflows/shared/names.ts");
  const { settle } = await import("../../workflows/settle-stream.ts");
  const { explained } = await import("../runs/follow-run.ts");
  const start = settlementStart(namespace, stream, []);
  try {
    return await client.workflow.executeUpdateWithStart(settle, {
      args: [views === undefined ? {} : { views }],
      startWorkflowOperation: new WithStartWorkflowOperation<typeof settleStream>("settleStream", start),
    });
  } catch (error) {
    throw await explained(start.workflowId, error);
  }
}

function shown(views: readonly Settled[]): string {
  if (views.length === 0) return "nothing new\n";
  const lines = views.map(({ view, version, published, records }) =>
    published ? `${view}: version ${version}, ${records} records` : `${view}: another writer was first`,
  );
  return `${lines.join("\n")}\n`;
}
