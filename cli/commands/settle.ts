import type { Command } from "commander";
import { amount } from "../../core/amount.ts";
import type { SettleStreamResult } from "../../workflows/settle-stream.ts";
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
      "\n" +
        "Examples:\n" +
        "  $ tideline settle                  every stream\n" +
        "  $ tideline settle revenue          one view\n" +
        "  $ tideline settle order-completed  every view of a stream\n",
    )
    .action(async (names: string[], { json = false }: { json?: boolean }) => {
      const config = loadConfig(process.env);
      const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
      const { settled, wantedOf } = await import("../runs/settle.ts");
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

function shown(views: readonly Settled[]): string {
  if (views.length === 0) return "nothing new\n";
  const lines = views.map(({ view, version, published, records }) =>
    published ? `${view}: version ${version}, ${amount(records, "record")}` : `${view}: another writer was first`,
  );
  return `${lines.join("\n")}\n`;
}
