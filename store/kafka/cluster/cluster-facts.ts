import { Admin, ConfigResourceTypes } from "../client/client.ts";
import { parseBrokers } from "./brokers.ts";
import { withLeaderless } from "./leaderless-metadata.ts";
import { unreachable } from "./topics.ts";

/** Facts about Kafka and some topics. */
export interface ClusterFacts {
  readonly brokers: number;
  /** The newest version of the Fetch request that the broker knows. Null when unknown. */
  readonly fetchVersion: number | null;
  /** By topic name. A topic that does not exist is absent. */
  readonly topics: ReadonlyMap<string, TopicFacts>;
}

export interface TopicFacts {
  readonly partitions: number;
  /** The number of partitions without a leader, which cannot be read or written. */
  readonly leaderless: number;
  /** Kafka's topic settings by name. */
  readonly settings: ReadonlyMap<string, string>;
}

const SETTINGS = ["retention.ms", "retention.bytes", "cleanup.policy", "max.message.bytes"];

/** Reads the facts that an installation with these topics depends on. Throws NOT_READY when Kafka does not answer. */
export async function clusterFacts(brokers: string, names: readonly string[]): Promise<ClusterFacts> {
  const admin = withLeaderless(
    new Admin({ clientId: "tideline", bootstrapBrokers: parseBrokers(brokers), retries: 1, retryDelay: 200 }),
  );
  try {
    const existing = new Set(await admin.listTopics());
    const wanted = names.filter((name) => existing.has(name));
    const metadata = await admin.metadata({ topics: wanted, forceUpdate: true });
    const settings = await topicSettings(admin, wanted);
    const topics = wanted.flatMap((name): [string, TopicFacts][] => {
      const found = metadata.topics.get(name);
      if (found === undefined) return [];
      const leaderless = found.partitions.filter(({ leader }) => leader < 0).length;
      return [[name, { partitions: found.partitionsCount, leaderless, settings: settings.get(name) ?? new Map() }]];
    });
    const fetch = (await admin.listApis()).find(({ name }) => name === "Fetch");
    return { brokers: metadata.brokers.size, fetchVersion: fetch?.maxVersion ?? null, topics: new Map(topics) };
  } catch (error) {
    throw unreachable(brokers, error);
  } finally {
    await admin.close();
  }
}

async function topicSettings(admin: Admin, names: readonly string[]): Promise<Map<string, Map<string, string>>> {
  if (names.length === 0) return new Map();
  const described = await admin.describeConfigs({
    resources: names.map((resourceName) => ({
      resourceType: ConfigResourceTypes.TOPIC,
      resourceName,
      configurationKeys: SETTINGS,
    })),
  });
  return new Map(
    described.map(({ resourceName, configs }) => [
      resourceName,
      new Map(configs.flatMap(({ name, value }): [string, string][] => (value == null ? [] : [[name, value]]))),
    ]),
  );
}
