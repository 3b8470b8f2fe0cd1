import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
A view whose file was changed is built beside the one that is served, compared with it, and then takes its place by
itself.

Examples:
  $ tideline views                    every view: its generations, versions, sizes, freshness
  $ tideline views compare revenue    what the last change of its file changed in its numbers
  $ tideline views back revenue       serve again what was served before
  $ tideline views reset revenue      read the view's live state again from the log
`;

const resetHelp = `
Safe at any time: live state follows from the log. Until it has been read again, answers are the batch view's alone and
say so.

Examples:
  $ tideline views reset revenue          what would be dropped
  $ tideline views reset revenue --yes    drop it
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
      const { listViews } = await import("../status/list-views.ts");
      await listViews(loadConfig(process.env), json);
    });
  group
    .command("compare")
    .description("show how the newest generation differs from the one before it, at one cut")
    .argument("<view>", "which view")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline views compare revenue\n")
    .action(async (view: string, { json }: { json: boolean }) => {
      const { showComparison } = await import("../operations/generations.ts");
      await showComparison(loadConfig(process.env), view, json);
    });
  group
    .command("back")
    .description("serve the generation again that was served before; the other one is kept up to date")
    .argument("<view>", "which view")
    .addHelpText("after", "\nExample:\n  $ tideline views back revenue\n")
    .action(async (view: string) => {
      const { moveBack } = await import("../operations/generations.ts");
      await moveBack(loadConfig(process.env), view);
    });
  group
    .command("move")
    .description("serve another generation of a view from now on")
    .argument("<generation>", "which, as `tideline views` shows it: revenue.1f0c33aa9b21")
    .addHelpText("after", "\nExample:\n  $ tideline views move revenue.1f0c33aa9b21\n")
    .action(async (generation: string) => {
      const { moveTo } = await import("../operations/generations.ts");
      await moveTo(loadConfig(process.env), generation);
    });
  group
    .command("reset")
    .description("drop the live state of a view in Redis; the speed layer reads it again from the batch cut")
    .argument("<view>", "which view, or which generation of it")
    .addOption(new Option("--yes", "do it; without, say what would be dropped").default(false))
    .addHelpText("after", resetHelp)
    .action(async (view: string, { yes }: { yes: boolean }) => {
      const { resetView } = await import("../operations/reset-view.ts");
      await resetView(loadConfig(process.env), view, yes);
    });
}
