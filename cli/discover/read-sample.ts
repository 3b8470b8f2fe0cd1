import { avroSchemaId } from "../../core/codec/decode/decode.ts";
import { TidelineError } from "../../core/errors.ts";
import { planSample } from "../../discover/sample/plan.ts";
import type { SampleRecord } from "../../discover/sample/sample.ts";
import { placeOf } from "../../store/decode/batch-rows.ts";
import { topicNames } from "../../store/kafka/cluster/topics.ts";
import type { FetchedPartition, LogReader } from "../../store/kafka/read/log.ts";
import type { SchemaRegistry } from "../../store/registry/registry.ts";

export interface SampleFlags {
  /** About how many records to read. */
  readonly sample: number;
  readonly fromBeginning: boolean;
}

/** The records that were read of a topic. */
export interface TopicRecords {
  readonly partitions: number;
  readonly records: readonly SampleRecord[];
  /** The part of the topic that was read, for people. */
  readonly taken: string;
  readonly leaderless: readonly number[];
}

const FETCH_BYTES = 1024 * 1024;
/** The most bytes of all records together, because they are held in memory. */
const MOST_BYTES = 128 * 1024 * 1024;

/**
 * Reads a sample of a topic. Throws TOPIC_MISSING if there is no such topic, and the signal's reason when it is
 * aborted.
 */
export async function readSample(
  log: LogReader,
  topic: string,
  { sample, fromBeginning }: SampleFlags,
  watch: { readonly signal: AbortSignal; readonly onProgress: (done: number, total: number) => void },
): Promise<TopicRecords> {
  const { start, stable, leaderless } = await log.readableBounds(topic);
  const spans = planSample(start, stable, sample, fromBeginning);
  const total = spans.reduce((sum, { from, to }) => sum + Number(to - from), 0);
  const records: SampleRecord[] = [];
  let read = 0;
  for (const { partition, from, to } of spans) {
    let leftBytes = MOST_BYTES / spans.length;
    for await (const fetched of log.read(
      topic,
      { partition, from, to },
      { maxBytes: FETCH_BYTES, signal: watch.signal },
    )) {
      for (let index = 0; index < fetched.records.length; index++) records.push(recordAt(fetched, index));
      read += Number(fetched.to - fetched.from);
      watch.onProgress(read, total);
      leftBytes -= fetched.records.sizeBytes;
      if (leftBytes <= 0) break;
    }
  }
  const held = [...stable].reduce((sum, [partition, end]) => sum + Number(end - (start.get(partition) ?? end)), 0);
  const partitions = stable.size + leaderless.length;
  return { partitions, records, leaderless, taken: takenText(records.length, held, partitions, fromBeginning) };
}

function recordAt({ partition, records }: FetchedPartition, index: number): SampleRecord {
  const headers = records.headerNames(index);
  return { ...placeOf(partition, records, index), value: records.value(index), headers };
}

function takenText(read: number, held: number, partitions: number, fromBeginning: boolean): string {
  const all = `${read.toLocaleString("en")} records in ${partitions} partition${partitions === 1 ? "" : "s"}`;
  if (read >= held) return `all ${all}`;
  const where = fromBeginning ? "from its beginning" : "from its beginning and its end";
  return `${read.toLocaleString("en")} of about ${held.toLocaleString("en")} records, ${where}`;
}

/** The most schemas that are looked up: bytes that only look like Avro have any number of ids. */
const MOST_SCHEMAS = 100;

/**
 * Returns the texts of the schemas that Avro records name, by id. Throws NOT_READY when the registry does not answer.
 */
export async function schemasOf(
  records: readonly SampleRecord[],
  registry: SchemaRegistry,
): Promise<Map<number, string>> {
  const counts = new Map<number, number>();
  for (const { value } of records) {
    const id = avroSchemaId(value);
    if (id !== null) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const frequent = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_SCHEMAS);
  const found = await Promise.all(frequent.map(async ([id]) => [id, await registry.schemaById(id)] as const));
  return new Map(found.flatMap(([id, schema]) => (schema === null ? [] : [[id, schema]])));
}

/** Returns the error for a topic that does not exist, with topics of similar names. */
export async function noSuchTopic(brokers: string, topic: string, cause: unknown): Promise<TidelineError> {
  const names = await topicNames(brokers);
  const words = topic.toLowerCase().split(/[^a-z0-9]+/);
  const near = names.filter((name) => words.some((word) => word.length > 2 && name.toLowerCase().includes(word)));
  const shown = (near.length > 0 ? near : names).slice(0, 20);
  const hint = shown.length === 0 ? "Kafka has no topics yet." : `Take one of: ${shown.join(", ")}.`;
  return new TidelineError("TOPIC_MISSING", `there is no topic "${topic}" at ${brokers}`, hint, { cause });
}
