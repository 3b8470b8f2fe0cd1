import { amount } from "../../core/amount.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { startHint } from "../../core/errors.ts";
import { type ClusterFacts, clusterFacts, type TopicFacts } from "../../store/kafka/cluster/cluster-facts.ts";
import { TOPIC_MISSING_HINT } from "../../store/kafka/cluster/log-errors.ts";
import { deadLetterTopic, topicName, topicOf } from "../../store/kafka/cluster/topics.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";
import { bytes } from "../terminal/sheet.ts";
import { type Finding, judged, ok, problem, warning } from "./finding.ts";

/** The version of fetch requests in store/kafka/read/log.ts. Kafka has it since 3.9. */
const FETCH_VERSION = 17;
/** A dead letter has some headers that its record does not have. */
const LETTER_OVERHEAD = 4_096;

/**
 * Checks Kafka: whether it answers and is new enough, and every stream's topics. `reachable`: whether other checks can
 * use Kafka.
 */
export async function checkKafka(
  { kafkaBrokers, namespace }: Config,
  streams: Iterable<Stream>,
): Promise<{ reachable: boolean; findings: Finding[] }> {
  const wanted = [...streams].map((stream) => ({
    stream,
    topic: topicOf(namespace, stream),
    letters: deadLetterTopic(topicName(namespace, stream.name)),
  }));
  const names = wanted.flatMap(({ topic, letters }) => [topic, letters]);
  const facts = await inTime(clusterFacts(kafkaBrokers, names)).catch(() => null);
  if (facts === null) {
    const todo = `${startHint("Kafka", "KAFKA_BROKERS")} Tideline then continues by itself.`;
    return { reachable: false, findings: [problem("kafka.connect", `Kafka does not answer at ${kafkaBrokers}`, todo)] };
  }
  const findings = [
    ok("kafka.connect", `Kafka answers at ${kafkaBrokers}, ${amount(facts.brokers, "broker")}`),
    checkVersion(facts),
    ...wanted.flatMap((one) => checkTopics(facts, one)),
  ];
  return { reachable: true, findings };
}

function checkVersion({ fetchVersion }: ClusterFacts): Finding {
  return judged((fetchVersion ?? 0) >= FETCH_VERSION, "kafka.version", `Kafka speaks Fetch ${fetchVersion}`, {
    level: "problem",
    message: `Kafka speaks Fetch ${fetchVersion}; Tideline needs ${FETCH_VERSION}`,
    todo: "Upgrade Kafka to 3.9 or newer.",
  });
}

interface WantedTopics {
  readonly stream: Stream;
  readonly topic: string;
  readonly letters: string;
}

function checkTopics({ topics }: ClusterFacts, { stream, topic, letters }: WantedTopics): Finding[] {
  const missing = [topic, letters].filter((name) => !topics.has(name));
  const found = topics.get(topic);
  const lettersFound = topics.get(letters);
  return [
    ...missing.map((name) =>
      problem(
        "topic.exists",
        `there is no topic ${name}`,
        name === topic ? TOPIC_MISSING_HINT : "Run `tideline init`, which creates it.",
      ),
    ),
    ...(found === undefined ? [] : checkTopic(found, stream, topic)),
    ...(found === undefined || lettersFound === undefined ? [] : checkLetters(found, lettersFound, letters)),
  ];
}

function checkTopic(found: TopicFacts, { partitions }: Stream, topic: string): Finding[] {
  const policy = found.settings.get("cleanup.policy") ?? "delete";
  return [
    judged(
      found.partitions >= partitions,
      "topic.partitions",
      `${topic} has ${amount(found.partitions, "partition")}`,
      {
        level: "problem",
        message: `${topic} has ${amount(found.partitions, "partition")}, and its stream asks for ${partitions}`,
        todo: "Give it as many, before anything is produced: keys move when partitions are added.",
      },
    ),
    judged(found.leaderless === 0, "topic.leaders", `${topic}: every partition has a leader`, {
      level: "problem",
      message: `${topic}: ${found.leaderless} partitions have no leader, and can be neither read nor written`,
      todo: "See which broker is down.",
    }),
    judged(!policy.includes("compact"), "topic.cleanup", `${topic}: cleanup.policy is ${policy}`, {
      level: "problem",
      message: `${topic} is compacted: Kafka drops events that later ones share a key with`,
      todo: `Set cleanup.policy=delete on ${topic}.`,
    }),
  ];
}

function checkLetters(found: TopicFacts, letters: TopicFacts, name: string): Finding[] {
  const size = (topic: TopicFacts) => Number(topic.settings.get("max.message.bytes") ?? 0);
  const [record, letter] = [size(found), size(letters)];
  const compacted = (letters.settings.get("cleanup.policy") ?? "delete").includes("compact");
  return [
    judged(letter >= record + LETTER_OVERHEAD, "dead-letters.size", `${name} takes dead letters of ${bytes(letter)}`, {
      level: "warning",
      message:
        `${name} takes dead letters of ${bytes(letter)}, and records may have ` +
        `${bytes(record)}: a large one that is refused would stop its partition`,
      todo: `Set max.message.bytes of ${name} to ${record + 1024 * 1024 * 2}.`,
    }),
    compacted
      ? warning(
          "dead-letters.cleanup",
          `${name} is compacted: an edit replaces its original`,
          `Set cleanup.policy=delete on ${name}.`,
        )
      : ok("dead-letters.cleanup", `${name} keeps originals`),
  ];
}
