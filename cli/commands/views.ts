import { type Command, Option } from "commander";
import { loadConfig } from "../config.ts";

const help = `
Example:
  $ tideline views          every view: generation, version, size, freshness
`;

/** Adds `tideline views`. */
export function registerViews(program: Command): void {
  const group = program.command("views").description("the views, their versions and sizes").addHelpText("after", help);
  group
    .command("list", { isDefault: true })
    .description("show every view: generation, version, grain, cells in Redis, batch files, freshness")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline views list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listViews } = await import("../views.ts");
      await listViews(loadConfig(process.env), json);
    });
}
