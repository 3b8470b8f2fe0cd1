import type { UpStep } from "../stack/bring-up.ts";
import { loadConfig } from "./config.ts";

/** The step of `tideline up` between servers and roles: the topics of every stream that a view reads, with their dead letters. */
export const createTopics: UpStep = {
  title: "Topics",
  async run({ kafkaBrokers }) {
    const { views, namespace } = loadConfig(process.env);
    const { loadDefinitions } = await import("../store/definitions.ts");
    const { deadLetterTopic, ensureTopics, topicName } = await import("../store/topics.ts");
    const { streams } = await loadDefinitions(views);
    const topics = [...streams.values()].flatMap(({ name, partitions }) => {
      const topic = topicName(namespace, name);
      return [
        { name: topic, partitions },
        // A letter is its record and a little more.
        { name: deadLetterTopic(topic), partitions: 1, config: { "max.message.bytes": String(12 * 1024 * 1024) } },
      ];
    });
    await ensureTopics(kafkaBrokers, topics);
  },
};
