import type { AlertEvent } from "../../core/alerts/alert.ts";
import { type KeptSilence, silenceFrom, silenceKey, silenceText } from "../../core/alerts/kept-silences.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { at } from "../../core/log/position.ts";
import { rulePositionsTopic, topicName } from "../kafka/cluster/topics.ts";
import { partitionOf } from "../kafka/produce/partitioner.ts";
import { isFenced, TransactionalProducer } from "../kafka/produce/transactional.ts";
import type { LogReader } from "../kafka/read/log.ts";

const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * Writes an event that silences a rule, and the silence itself, in one transaction. A process that starts later reads
 * the silence, because many alerts may follow the event. All silences share a transactional id, so both topics have
 * them in the same order. Throws TOPIC_MISSING, NOT_READY, and WRITE_REFUSED when another silence is written at the
 * same time.
 */
export async function writeSilence(
  { brokers, namespace, log }: { readonly brokers: string; readonly namespace: string; readonly log: LogReader },
  event: AlertEvent,
): Promise<void> {
  const topic = topicName(namespace, alerts.name);
  const { partitions } = await log.topic(topic);
  const producer = await TransactionalProducer.open(brokers, "tideline-silences", `tideline-silences-${topic}`);
  const rule = event.subject;
  const kept = silenceText({ rule, untilMs: event.silent_until ?? 0 });
  try {
    await producer.commit([
      { topic, partition: partitionOf(rule, partitions.length), key: rule, value: JSON.stringify(event) },
      { topic: rulePositionsTopic(topic), partition: 0, key: silenceKey(rule), value: kept },
    ]);
  } catch (error) {
    if (!isFenced(error)) throw error;
    const hint = "Nothing was written. Run the command again.";
    throw new TidelineError("WRITE_REFUSED", "another silence was written at the same time", hint, { cause: error });
  } finally {
    await producer.close();
  }
}

/** Returns the last silence of each rule that has one, also silences that are over. Empty before the topic exists. */
export async function readSilences(log: LogReader, namespace: string): Promise<KeptSilence[]> {
  const topic = rulePositionsTopic(topicName(namespace, alerts.name));
  const found = new Map<string, KeptSilence>();
  try {
    const { start, stable } = await log.bounds(topic);
    for (const [partition, end] of stable) {
      const span = { partition, from: at(start, partition), to: end };
      for await (const { records } of log.read(topic, span, { maxBytes: FETCH_BYTES })) {
        for (const value of records.values) {
          const silence = silenceFrom(value);
          if (silence !== null) found.set(silence.rule, silence);
        }
      }
    }
  } catch (error) {
    if (!isTidelineError(error, "TOPIC_MISSING")) throw error;
  }
  return [...found.values()];
}
