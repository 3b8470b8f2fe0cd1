import { type Command, Option } from "commander";
import { loadConfig } from "../setup/config.ts";

const help = `
A delivery is a file in the system's folder \`deliveries\`, or in TIDELINE_DELIVERIES. It hands alerts over: by mail, to
a webhook, to Slack, to a topic, or to a function of your own. An escalation is listed as <delivery>.escalation.

Examples:
  $ tideline deliveries                        where alerts go, and how many could not be handed over
  $ tideline deliveries failed                 which, and why
  $ tideline deliveries replay --all           hand them over now
`;

/** Adds `tideline deliveries`. */
export function registerDeliveries(program: Command): void {
  const group = program
    .command("deliveries")
    .description("where alerts go: list deliveries, show failed alerts, deliver them again")
    .addHelpText("after", help);
  const json = () => new Option("--json", "as JSON").default(false);
  group
    .command("list", { isDefault: true })
    .description("show every delivery: where to, which alerts, how many are behind, how many failed")
    .addOption(json())
    .addHelpText("after", "\nExample:\n  $ tideline deliveries list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listDeliveries } = await import("../alerts/deliveries.ts");
      await listDeliveries(loadConfig(process.env), json);
    });
  group
    .command("failed")
    .description("show the alerts that could not be delivered, newest first")
    .argument("[delivery]", "only this one's")
    .addOption(json())
    .addHelpText("after", "\nExample:\n  $ tideline deliveries failed on-call\n")
    .action(async (delivery: string | undefined, { json }: { json: boolean }) => {
      const { listFailed } = await import("../alerts/deliveries.ts");
      await listFailed(loadConfig(process.env), delivery, json);
    });
  group
    .command("replay")
    .description("deliver failed alerts again, each once")
    .argument("[ids...]", "delivery/alert, as `failed` shows it")
    .option("--all", "every one that failed", false)
    .addHelpText(
      "after",
      "\n" +
        "Examples:\n" +
        "  $ tideline deliveries replay on-call/heart-rate-3f9a1c07d2b45e8890ab\n" +
        "  $ tideline deliveries replay --all\n",
    )
    .action(async (ids: string[], { all }: { all: boolean }, command: Command) => {
      if (ids.length > 0 === all) return command.error("error: name ids, or give --all");
      const { replay } = await import("../alerts/deliveries.ts");
      await replay(loadConfig(process.env), all ? null : ids);
    });
}
