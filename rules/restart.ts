import type { Rule } from "../core/definition/rule.ts";
import { at } from "../core/log/position.ts";
import { readRulePositions } from "../store/alerts/read-positions.ts";
import { topicName, topicOf } from "../store/kafka/cluster/topics.ts";
import type { LogReader } from "../store/kafka/read/log.ts";
import { PartitionWriter, ruleTopics } from "./partition-writer.ts";

const READ_LIMIT_MS = 60_000;

/**
 * Makes a rule begin again at the log's start or end, in every partition. This interrupts the processes that evaluate
 * the stream's rules for some seconds; they continue from the stored positions. If an alert is opened a second time, it
 * is a duplicate. Throws TOPIC_MISSING and NOT_READY.
 */
export async function restartRule(
  { brokers, namespace, log }: { brokers: string; namespace: string; log: LogReader },
  { name, on }: Rule,
  where: "start" | "end",
): Promise<void> {
  const topic = topicOf(namespace, on);
  const { id: topicId, partitions } = await log.topic(topic);
  const { start, stable } = await log.bounds(topic);
  const topics = await ruleTopics(log, namespace);
  const began = partitions.length;
  for (const partition of partitions) {
    const options = { brokers, name: topicName(namespace, on.name), stream: on.name, partition, topics };
    const writer = await PartitionWriter.open(options);
    try {
      const stored = await readRulePositions(log, topics.positions, AbortSignal.timeout(READ_LIMIT_MS));
      const known = [...stored.values()].find((one) => one.stream === on.name && one.partition === partition);
      if (known !== undefined) writer.adopt(known.rules);
      const next = at(where === "start" ? start : stable, partition);
      await writer.begin(new Map([[name, { topicId, next, began }]]));
    } finally {
      await writer.close();
    }
  }
}
