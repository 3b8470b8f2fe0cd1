import { type Command, InvalidArgumentError, Option } from "commander";
import type { DiscoverFlags } from "../discover/discover.ts";
import { loadConfig } from "../setup/config.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";

const help = `
Reads a sample of the topic, JSON or Avro, and writes two files: schemas/<name>.ts, the contract of its events, and a
view that counts them and sums and averages their main numbers. A comment in the contract says what share of the
sample it accepts, why not the rest, and how the event id, the event time and the key were chosen. Nothing is written
to Kafka.

The files go where TIDELINE_SYSTEM, or TIDELINE_SCHEMAS and TIDELINE_VIEWS, say; where these are not set, to the
folder of --to (my-system). Files that exist are left as they are without --force.

Examples:
  $ tideline discover                                              list the topics
  $ tideline discover prod.Orders_v1 --dry-run                     print both files
  $ tideline discover prod.Orders_v1 --name orders --to ~/shop
  $ tideline discover clicks --sample 100000 --from-beginning
  $ KAFKA_BROKERS=kafka:9092 tideline discover clicks
`;

/** Adds `tideline discover`. */
export function registerDiscover(program: Command): void {
  program
    .command("discover")
    .description("write a contract and a view for a topic that is there already")
    .argument("[topic]", "which topic; nothing: list them")
    .addOption(new Option("--sample <n>", "read about n records").argParser(wholeNumberFrom(1)).default(10_000))
    .addOption(
      new Option(
        "--from-beginning",
        "read them all from the beginning of the log, not half of them from its end",
      ).default(false),
    )
    .addOption(
      new Option("--name <name>", "what the stream is called; by default like the topic").argParser(streamName),
    )
    .option("--to <folder>", "folder of a system that the files are written to; it is made if there is none")
    .addOption(new Option("--dry-run", "print the files, and write none").default(false))
    .addOption(new Option("--force", "overwrite files that exist").default(false))
    .addHelpText("after", help)
    .action(async (topic: string | undefined, flags: DiscoverFlags) => {
      const { discoverTopic, listTopics } = await import("../discover/discover.ts");
      const config = loadConfig(process.env);
      await (topic === undefined ? listTopics(config) : discoverTopic(config, topic, flags));
    });
}

function streamName(text: string): string {
  if (/^[a-z][a-z0-9-]{0,39}$/.test(text)) return text;
  throw new InvalidArgumentError(
    "It must be at most 40 lower-case letters, digits and dashes, and begin with a letter.",
  );
}
