import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
A run that makes no progress keeps its work from every later run. To end it loses nothing that is done: the next run
begins again.

Examples:
  $ tideline runs                        every run under way: since when, and what it fails at
  $ tideline runs end settle/order-completed  end one at once
`;

/** Adds `tideline runs`. */
export function registerRuns(program: Command): void {
  const group = program.command("runs").description("the runs under way in Temporal").addHelpText("after", help);
  group
    .command("list", { isDefault: true })
    .description("show every run under way: kind, since when, what it fails at")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline runs list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listRuns } = await import("../runs/runs.ts");
      await listRuns(loadConfig(process.env), json);
    });
  group
    .command("end")
    .description("terminate a run that cannot continue: it is not asked, and its step under way is given up")
    .argument("<run>", "its id, as `list` shows it")
    .option("--reason <text>", "why, for people who look at it in Temporal", "by tideline runs")
    .addHelpText("after", "\nExample:\n  $ tideline runs end settle/order-completed\n")
    .action(async (run: string, { reason }: { reason: string }) => {
      const { endRun } = await import("../runs/runs.ts");
      await endRun(loadConfig(process.env), run, reason);
      process.stdout.write(`${run} is ended; its schedule, or its command, begins it again\n`);
    });
}
