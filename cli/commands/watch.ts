import { type Command, Option } from "commander";
import { addQueryFlags, type QueryFlags } from "../query/view-query.ts";
import { loadConfig } from "../setup/config.ts";
import { duration, wholeNumberFrom } from "../terminal/flags.ts";

const help = `
On a terminal the table is redrawn in place; Ctrl+C ends it. Elsewhere each change is a line of JSON: the rows, and
where they stand.

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
    .addOption(new Option("--count <n>", "end after n answers").argParser(wholeNumberFrom(1)))
    .addHelpText("after", help)
    .action(async (view: string | undefined, flags: WatchFlags) => {
      const { watch } = await import("../query/watch.ts");
      await watch(loadConfig(process.env), view, flags);
    });
}
