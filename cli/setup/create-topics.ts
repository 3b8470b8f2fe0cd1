import { join } from "node:path";
import { amount } from "../../core/amount.ts";
import type { UpStep } from "../../stack/bring-up.ts";
import { type Config, loadConfig } from "./config.ts";

/**
 * Creates the topics of every stream, with their dead letters, registers the schemas of every version, and returns the
 * streams' topics. Existing topics stay as they are. Calls `say` for a topic that a definition names and that did not
 * exist. Throws as `ensureTopics` and `prepareStreams` do.
 */
export async function createStreamTopics(
  {
    kafkaBrokers,
    schemas,
    views,
    rules,
    deliveries,
    namespace,
    home,
    schemaRegistry,
  }: Pick<
    Config,
    "kafkaBrokers" | "schemas" | "views" | "rules" | "deliveries" | "namespace" | "home" | "schemaRegistry"
  >,
  say: (line: string) => void,
): Promise<string[]> {
  const { alerts } = await import("../../core/contract/alerts.ts");
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { DataDirectory } = await import("../../store/files/files.ts");
  const { openRegistry } = await import("../../store/registry/registry-open.ts");
  const { prepareStreams } = await import("../../store/registry/registry-prepare.ts");
  const { deadLetterTopic, ensureTopics, letterTopicDefaults, alertTopics, topicDefaults, topicName, topicOf } =
    await import("../../store/kafka/cluster/topics.ts");
  const { streams } = await loadDefinitions({ schemas, views, rules, deliveries, namespace });
  const topics = [...streams.values()].map((stream) => ({
    name: topicOf(namespace, stream),
    partitions: stream.partitions,
    isGiven: stream.topic !== null,
  }));
  const letters = [...streams.keys()].map((name) => ({
    name: deadLetterTopic(topicName(namespace, name)),
    partitions: 1,
    config: letterTopicDefaults,
  }));
  const own = streams.get(alerts.name) === alerts ? alertTopics(namespace) : [];
  const created = await ensureTopics(kafkaBrokers, [...topics, ...letters, ...own]);
  for (const { name, partitions, isGiven } of created)
    if (isGiven)
      say(
        `there was no topic ${name}: it was created with ${amount(partitions, "partition")} ` +
          `and retention.ms=${topicDefaults["retention.ms"]}`,
      );
  const registry = openRegistry(new DataDirectory(join(home, "data")), schemaRegistry);
  await prepareStreams(registry, streams.values(), (name) => topicName(namespace, name));
  return topics.map(({ name }) => name);
}

/** The step of `tideline up` that creates the topics, after the servers and before the roles. */
export const createTopics: UpStep = {
  title: "Topics",
  run: async ({ env, home, kafkaBrokers, say }) => {
    await createStreamTopics({ ...loadConfig(env), home, kafkaBrokers }, say);
  },
};
