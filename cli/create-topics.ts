import type { UpStep } from "../stack/bring-up.ts";
import { type Config, loadConfig } from "./config.ts";

/**
 * Creates the topics of every stream, with their dead letters, and gives the streams' topics. What exists is left as it is.
 * Throws as `ensureTopics` does.
 */
export async function createStreamTopics({
  kafkaBrokers,
  schemas,
  views,
  namespace,
}: Pick<Config, "kafkaBrokers" | "schemas" | "views" | "namespace">): Promise<string[]> {
  const { loadDefinitions } = await import("../store/definitions.ts");
  const { deadLetterTopic, ensureTopics, topicName } = await import("../store/topics.ts");
  const { streams } = await loadDefinitions({ schemas, views });
  const topics = [...streams.values()].map(({ name, partitions }) => ({
    name: topicName(namespace, name),
    partitions,
  }));
  const letters = topics.map(({ name }) => ({
    name: deadLetterTopic(name),
    partitions: 1,
    // A letter is its record and a little more.
    config: { "max.message.bytes": String(12 * 1024 * 1024) },
  }));
  await ensureTopics(kafkaBrokers, [...topics, ...letters]);
  return topics.map(({ name }) => name);
}

/** The step of `tideline up` between servers and roles. */
export const createTopics: UpStep = {
  title: "Topics",
  run: async ({ kafkaBrokers }) => {
    await createStreamTopics({ ...loadConfig(process.env), kafkaBrokers });
  },
};
