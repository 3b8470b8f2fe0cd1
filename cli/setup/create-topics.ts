import { join } from "node:path";
import type { UpStep } from "../../stack/bring-up.ts";
import { type Config, loadConfig } from "./config.ts";

/**
 * Creates the topics of every stream, with their dead letters, registers the schemas of every version, and gives the streams' topics. What
 * exists is left as it is. Throws as `ensureTopics` and `prepareStreams` do.
 */
export async function createStreamTopics({
  kafkaBrokers,
  schemas,
  views,
  namespace,
  home,
  schemaRegistry,
}: Pick<Config, "kafkaBrokers" | "schemas" | "views" | "namespace" | "home" | "schemaRegistry">): Promise<string[]> {
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { DataDirectory } = await import("../../store/files/files.ts");
  const { openRegistry } = await import("../../store/registry/registry-open.ts");
  const { prepareStreams } = await import("../../store/registry/registry-prepare.ts");
  const { deadLetterTopic, ensureTopics, letterTopicDefaults, topicName } = await import(
    "../../store/kafka/cluster/topics.ts"
  );
  const { streams } = await loadDefinitions({ schemas, views });
  const topics = [...streams.values()].map(({ name, partitions }) => ({
    name: topicName(namespace, name),
    partitions,
  }));
  const letters = topics.map(({ name }) => ({
    name: deadLetterTopic(name),
    partitions: 1,
    config: letterTopicDefaults,
  }));
  await ensureTopics(kafkaBrokers, [...topics, ...letters]);
  const registry = openRegistry(new DataDirectory(join(home, "data")), schemaRegistry);
  await prepareStreams(registry, streams.values(), (name) => topicName(namespace, name));
  return topics.map(({ name }) => name);
}

/** The step of `tideline up` between servers and roles. */
export const createTopics: UpStep = {
  title: "Topics",
  run: async ({ kafkaBrokers }) => {
    await createStreamTopics({ ...loadConfig(process.env), kafkaBrokers });
  },
};
