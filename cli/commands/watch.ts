import { type Command, Option } from "commander";
import { loadConfig } from "../config.ts";
import { duration, wholeNumber } from "../flags.ts";
import { addQueryFlags, type QueryFlags } from "../view-query.ts";

const help = `
On a terminal the table is redrawn in place; Ctrl+C ends it. Elsewhere each change is a line of JSON: the rows, and where they stand.

Examples:
  $ tideline watch                                      the first view
  $ tideline watch revenue --every 1m --by region --order=-bucket --limit 10
  $ tideline watch revenue --by "" --count 1 | jq .rows
`;

interface WatchFlags extends QueryFlags {
  readonly interval: number;
  readonly count?: number;
}

/** Adds `tideline watch`. */
export function registerWatch(program: Command): void {
  const command = program
    .command("watch")
    .description("show a view's answer live, as it changes")
    .argument("[view]", "which view (default: the first one)");
  addQueryFlags(command)
    .addOption(
      new Option("--interval <duration>", "at most one change in this time").argParser(duration).default(1_000, "1s"),
    )
    .addOption(new Option("--count <n>", "end after so many answers").argParser(wholeNumber))
    .addHelpText("after", help)
    .action(async (view: string | undefined, flags: WatchFlags) => {
      const { watch } = await import("../watch.ts");
      await watch(loadConfig(process.env), view, flags);
    });
}
