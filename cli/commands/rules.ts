import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
A rule is a file in the system's folder \`rules\`, or in TIDELINE_RULES. It opens alerts (\`tideline alerts\`).

Examples:
  $ tideline rules                                every rule: its stream, condition, and how far it has read
  $ tideline rules restart heart-rate --at start  read the whole log again; alerts that are there are not opened twice
`;

/** Adds `tideline rules`. */
export function registerRules(program: Command): void {
  const group = program
    .command("rules")
    .description("the rules that open alerts, and how far they have read")
    .addHelpText("after", help);
  group
    .command("list", { isDefault: true })
    .description("show every rule: stream, condition, severity, quiet interval, records behind")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline rules list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listRules } = await import("../alerts/rules.ts");
      await listRules(loadConfig(process.env), json);
    });
  group
    .command("restart")
    .description("restart a rule at the log's end or start")
    .argument("<rule>", "which rule")
    .addOption(new Option("--at <place>", "where it begins").choices(["start", "end"]).makeOptionMandatory())
    .addHelpText("after", "\nExample:\n  $ tideline rules restart heart-rate --at end\n")
    .action(async (rule: string, { at }: { at: "start" | "end" }) => {
      const { restart } = await import("../alerts/rules.ts");
      await restart(loadConfig(process.env), rule, at);
    });
}
