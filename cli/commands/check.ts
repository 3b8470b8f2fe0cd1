import { type Command, InvalidArgumentError, Option } from "commander";
import type { CheckFlags } from "../check/check.ts";
import { loadConfig } from "../setup/config.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";

const MOST = 1_000_000;

const help = `
Reads the newest records of each stream by the contract that runs and by the one in the file, and computes each view
both ways over them. It shows the records that a changed contract would refuse or read differently, and for a changed
view the cells, the totals and the records that differ. What runs is what is served from TIDELINE_HOME. Nothing is
changed or written down.

Exit codes: 0 no differences, 1 differences, 2 it could not be checked, 130 interrupted.

Examples:
  $ tideline check                                     every definition, over the last 10,000 records of each stream
  $ tideline check --view revenue --last 100000
  $ tideline check --format markdown >> "$GITHUB_STEP_SUMMARY"
`;

/** Adds `tideline check`. */
export function registerCheck(program: Command): void {
  program
    .command("check")
    .description("show what the definitions in files would change, over the newest records of the log")
    .addOption(new Option("--last <n>", "how many records of each stream").argParser(records).default(10_000))
    .addOption(new Option("--view <view>", "only this view, and its stream"))
    .addOption(new Option("--format <format>", "how to print it").choices(["text", "json", "markdown"]).default("text"))
    .addHelpText("after", help)
    .action(async (flags: CheckFlags) => {
      const { check } = await import("../check/check.ts");
      await check(loadConfig(process.env), flags);
    });
}

function records(text: string): number {
  const value = wholeNumberFrom(1)(text);
  if (value <= MOST) return value;
  throw new InvalidArgumentError(`It must be at most ${MOST.toLocaleString("en-US")}.`);
}
