import { type Command, Option } from "commander";
import type { AcceptFlags } from "../operations/accept-log.ts";
import { loadConfig } from "../setup/config.ts";
import { duration, partition, since, wholeNumberFrom } from "../terminal/flags.ts";

const help = `
Quality is valid records of all archived ones; duplicates are valid.

Examples:
  $ tideline streams                                        every stream: size, archive, quality
  $ tideline streams quality order-completed --every 1h     how it developed
  $ tideline streams recheck                                look for Avro schemas that were not registered yet
  $ tideline streams accept-log order-completed             what Kafka lost, after LOG_TRUNCATED
`;

const acceptHelp = `
After LOG_TRUNCATED: Kafka lost the end of a log that had been read, and other records may lie at the same offsets now.
Archive and views stay where they are until somebody decides. Without --yes this shows the difference and changes
nothing.

With --yes, what is archived stays counted, also the records that Kafka lost. From where the archive ends on, the log as
it is now is read. Its records between the difference and the end of the archive are not counted: send them again if
they must be. Records that were lost before they were archived are not counted any more.

Examples:
  $ tideline streams accept-log order-completed                      shows the difference
  $ tideline streams accept-log order-completed --yes                accepts the log of every partition
  $ tideline streams accept-log order-completed --partition 2 --yes
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
      const { listStreams } = await import("../status/list-streams.ts");
      await listStreams(loadConfig(process.env), json);
    });
  registerQuality(group);
  registerRecheck(group);
  registerAcceptLog(group);
}

function registerQuality(group: Command): void {
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
      "\n" +
        "Examples:\n" +
        "  $ tideline streams quality order-completed\n" +
        "  $ tideline streams quality order-completed --every 1d --since 30d\n",
    )
    .action(async (stream: string, { every, since: from, json }: { every: number; since?: number; json: boolean }) => {
      const { showQuality } = await import("../status/list-streams.ts");
      await showQuality(loadConfig(process.env), stream, {
        everyMs: every,
        from: from ?? Date.now() - 7 * 86_400_000,
        json,
      });
    });
}

function registerRecheck(group: Command): void {
  group
    .command("recheck")
    .description("ask the schema registry again for Avro schemas that it did not know")
    .argument("[ids...]", "schema ids that were never looked up, because they are far beyond the known ones", schemaIds)
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText(
      "after",
      `
What is found holds from the next revision of each stream on: raise \`revision\` in the contract, and what was archived
is decoded again. Until then records of these schemas are refused as before, by all layers alike.

Example:
  $ tideline streams recheck
`,
    )
    .action(async (ids: readonly number[], { json }: { json: boolean }) => {
      const { recheckStreams } = await import("../operations/recheck.ts");
      await recheckStreams(loadConfig(process.env), ids, json);
    });
}

function registerAcceptLog(group: Command): void {
  group
    .command("accept-log")
    .description("show what Kafka lost of a stream's log, and continue with the log as it is now")
    .argument("<stream>", "which stream")
    .addOption(new Option("--partition <n>", "only this partition").argParser(partition))
    .option("--yes", "accept the log as it is now", false)
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", acceptHelp)
    .action(async (stream: string, flags: AcceptFlags) => {
      const { acceptStreamLog } = await import("../operations/accept-log.ts");
      await acceptStreamLog(loadConfig(process.env), stream, flags);
    });
}

function schemaIds(text: string, before: readonly number[] | undefined): number[] {
  return [...(before ?? []), wholeNumberFrom(1)(text)];
}
