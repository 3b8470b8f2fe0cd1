import { isTidelineError } from "../../../core/errors.ts";
import type { RetentionLimits } from "../../../core/log/retention.ts";
import { Admin, ConfigResourceTypes } from "../client/client.ts";
import { parseBrokers } from "./brokers.ts";
import { isUnknownTopic, topicMissing } from "./log-errors.ts";
import { unreachable } from "./topics.ts";

/** The retention limits of a topic, and the sizes of its partitions. */
export interface TopicRetention extends RetentionLimits {
  /** By partition, the size of the largest replica. */
  readonly sizeBytes: ReadonlyMap<number, number>;
}

/** Reads a topic's settings and size from Kafka. Throws TOPIC_MISSING, and NOT_READY when Kafka does not answer. */
export async function topicRetention(
  brokers: string,
  topic: string,
  partitions: readonly number[],
): Promise<TopicRetention> {
  const admin = new Admin({
    clientId: "tideline",
    bootstrapBrokers: parseBrokers(brokers),
    retries: 1,
    retryDelay: 200,
  });
  try {
    const settings = await settingsOf(admin, topic);
    const deletes = (settings.get("cleanup.policy") ?? "delete").split(",").includes("delete");
    const limit = (name: string) => {
      const value = Number(settings.get(name) ?? -1);
      return deletes && value >= 0 ? value : null;
    };
    const sizeBytes = new Map<number, number>();
    for (const { results } of await admin.describeLogDirs({ topics: [{ name: topic, partitions: [...partitions] }] }))
      for (const { partitionIndex, partitionSize } of results.flatMap(({ topics }) =>
        topics.flatMap((one) => one.partitions),
      ))
        sizeBytes.set(partitionIndex, Math.max(sizeBytes.get(partitionIndex) ?? 0, Number(partitionSize)));
    return { retentionMs: limit("retention.ms"), retentionBytes: limit("retention.bytes"), sizeBytes };
  } catch (error) {
    if (isUnknownTopic(error)) throw topicMissing(topic, error);
    throw isTidelineError(error) ? error : unreachable(brokers, error);
  } finally {
    await admin.close();
  }
}

async function settingsOf(admin: Admin, topic: string): Promise<Map<string, string>> {
  const configurationKeys = ["retention.ms", "retention.bytes", "cleanup.policy"];
  const described = await admin.describeConfigs({
    resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys }],
  });
  return new Map(
    described.flatMap(({ configs }) =>
      configs.flatMap(({ name, value }): [string, string][] => (value == null ? [] : [[name, value]])),
    ),
  );
}
