import { type Command, Option } from "commander";
import { loadConfig } from "../config.ts";
import { duration, since } from "../flags.ts";

const help = `
Quality is valid records of all archived ones; duplicates are valid.

Examples:
  $ tideline streams                                        every stream: size, archive, quality
  $ tideline streams quality order-completed --every 1h     how it developed
`;

/** Adds `tideline streams`. */
export function registerStreams(program: Command): void {
  const group = program
    .command("streams")
    .description("the streams, and how good their records are")
    .addHelpText("after", help);
  group
    .command("list", { isDefault: true })
    .description("show every stream: topic, contract, records, archive, quality, retention")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline streams list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listStreams } = await import("../streams.ts");
      await listStreams(loadConfig(process.env), json);
    });
  group
    .command("quality")
    .description("show a stream's quality over time, by when Kafka got the records")
    .argument("<stream>", "which stream")
    .addOption(new Option("--every <duration>", "width of a row").argParser(duration).default(3_600_000, "1h"))
    .addOption(
      new Option("--since <time>", "from when on: a time, or how long ago")
        .argParser(since)
        .default(undefined, "7 days ago"),
    )
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText(
      "after",
      "\nExamples:\n  $ tideline streams quality order-completed\n  $ tideline streams quality order-completed --every 1d --since 30d\n",
    )
    .action(async (stream: string, { every, since: from, json }: { every: number; since?: number; json: boolean }) => {
      const { showQuality } = await import("../streams.ts");
      await showQuality(loadConfig(process.env), stream, {
        everyMs: every,
        from: from ?? Date.now() - 7 * 86_400_000,
        json,
      });
    });
}
