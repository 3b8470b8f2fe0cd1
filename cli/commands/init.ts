import type { Command } from "commander";
import { loadConfig } from "../setup/config.ts";

const examples = `
Examples:
  $ tideline init                                once, before the roles start for the first time
  $ KAFKA_BROKERS=kafka:9092 tideline init       on another Kafka
`;

/** Adds `tideline init`. */
export function registerInit(program: Command): void {
  program
    .command("init")
    .description(
      "create the topics that the views read, where they do not exist, and end; `tideline up` does it by itself",
    )
    .addHelpText("after", examples)
    .action(async () => {
      const { createStreamTopics } = await import("../setup/create-topics.ts");
      const topics = await createStreamTopics(loadConfig(process.env), (line) => process.stdout.write(`${line}\n`));
      process.stdout.write(`topics: ${topics.join(", ")}, each with its dead letters\n`);
    });
}
