import { type Command, Option } from "commander";
import { SEVERITIES } from "../../core/contract/alerts.ts";
import { ALERT_STATES } from "../../core/definition/shown-alert.ts";
import type { ListFlags } from "../alerts/list.ts";
import type { SilenceFlags } from "../alerts/respond.ts";
import { loadConfig } from "../setup/config.ts";
import { duration, since, wholeNumberFrom } from "../terminal/flags.ts";

const examples = `
Rules open alerts (\`tideline rules\`). An alert's id follows from the rule, its key, and the interval of event time.

Examples:
  $ tideline alerts                                         the newest fifty
  $ tideline alerts list --state open --rule heart-rate --since 1h
  $ tideline alerts watch                                   as they come
  $ tideline alerts explain heart-rate-3f9a1c07d2b45e8890ab
  $ tideline alerts ack heart-rate-3f9a1c07d2b45e8890ab
  $ tideline alerts silence heart-rate --for 2h
`;

/** Adds `tideline alerts`. */
export function registerAlerts(program: Command): void {
  const group = program
    .command("alerts")
    .description("the alerts that rules opened: list, watch, explain, acknowledge and silence")
    .addHelpText("after", examples);
  registerList(group);
  registerWatch(group);
  registerExplain(group);
  registerAck(group);
  registerSilence(group);
}

const json = () => new Option("--json", "as JSON").default(false);
const author = () => new Option("--by <name>", "who says so (default: the user who runs this)");

function registerList(group: Command): void {
  group
    .command("list", { isDefault: true })
    .description("show the alerts, the newest event first")
    .option("--rule <name>", "only this rule's")
    .option("--key <value>", "only those about this")
    .addOption(new Option("--state <state>", "only these").choices(ALERT_STATES))
    .addOption(new Option("--severity <severity>", "only these").choices(SEVERITIES))
    .addOption(new Option("--since <time>", "only events since: a time, or how long ago, such as 2h").argParser(since))
    .addOption(new Option("--limit <n>", "show at most n alerts").default(50).argParser(wholeNumberFrom(1)))
    .addOption(json())
    .addHelpText("after", "\nExample:\n  $ tideline alerts list --state open --severity critical --since 1h\n")
    .action(async (flags: ListFlags) => {
      const { listAlerts } = await import("../alerts/list.ts");
      await listAlerts(loadConfig(process.env), flags);
    });
}

function registerWatch(group: Command): void {
  group
    .command("watch")
    .description("print alerts as they are opened and acknowledged; Ctrl+C ends it")
    .option("--rule <name>", "only this rule's")
    .addOption(new Option("--count <n>", "end after n alerts").argParser(wholeNumberFrom(1)))
    .addOption(new Option("--json", "a line of JSON for each").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline alerts watch --rule heart-rate --json | jq .key\n")
    .action(async (flags: { rule?: string; count?: number; json: boolean }) => {
      const { watchAlerts } = await import("../alerts/watch.ts");
      await watchAlerts(loadConfig(process.env), flags);
    });
}

function registerExplain(group: Command): void {
  group
    .command("explain")
    .description("show the record that opened an alert, and compute its condition there again")
    .argument("<id>", "as `list` shows it")
    .addOption(json())
    .addHelpText("after", "\nExample:\n  $ tideline alerts explain heart-rate-3f9a1c07d2b45e8890ab\n")
    .action(async (id: string, flags: { json: boolean }) => {
      const { explainAlert } = await import("../alerts/explain.ts");
      await explainAlert(loadConfig(process.env), id, flags.json);
    });
}

function registerAck(group: Command): void {
  group
    .command("ack")
    .description("acknowledge alerts: you look after them")
    .argument("<ids...>", "as `list` shows them")
    .addOption(author())
    .addHelpText("after", "\nExample:\n  $ tideline alerts ack heart-rate-3f9a1c07d2b45e8890ab --by 'Dr. Who'\n")
    .action(async (ids: string[], flags: { by?: string }) => {
      const { acknowledge } = await import("../alerts/respond.ts");
      await acknowledge(loadConfig(process.env), ids, flags.by);
    });
}

function registerSilence(group: Command): void {
  group
    .command("silence")
    .description("show the alerts of a rule as silenced for a while; they are opened anyway")
    .argument("<rule>", "which rule")
    .addOption(new Option("--for <duration>", "how long, such as 2h").argParser(duration))
    .option("--end", "end it now")
    .addOption(author())
    .addHelpText(
      "after",
      "\nExamples:\n  $ tideline alerts silence heart-rate --for 2h\n  $ tideline alerts silence heart-rate --end\n",
    )
    .action(async (rule: string, flags: SilenceFlags, command: Command) => {
      if ((flags.for === undefined) === (flags.end !== true))
        return command.error("error: give --for <duration>, or --end");
      const { silence } = await import("../alerts/respond.ts");
      await silence(loadConfig(process.env), rule, flags);
    });
}
