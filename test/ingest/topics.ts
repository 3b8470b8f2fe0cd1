import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type Admin, type IHeaders, Kafka, KafkaJSProtocolError, logLevel, Partitioners } from "kafkajs";
import { afterAll, afterEach, beforeAll, inject } from "vitest";

export const brokers = inject("kafkaBrokers");
const kafka = new Kafka({ clientId: "oracle", brokers: brokers.split(","), logLevel: logLevel.NOTHING });
export const seed = Math.floor(Math.random() * 2 ** 31);
export const run = `test-${Date.now().toString(36)}-${seed.toString(36)}`;
let namespaces = 0;
let groups = 0;
export const freshNamespace = () => `${run}-${++namespaces}`;
export const never = new AbortController().signal;

const tideline = fileURLToPath(new URL("../../cli/tideline.js", import.meta.url));
const children: ChildProcess[] = [];

/** Starts a command in a namespace; `ended` has its exit code or signal, and what it wrote. */
export function startTideline(namespace: string, ...args: string[]) {
  const env = { ...process.env, KAFKA_BROKERS: brokers, TIDELINE_NAMESPACE: namespace };
  const child = spawn(process.execPath, [tideline, ...args], { env, stdio: ["pipe", "pipe", "pipe"] });
  children.push(child);
  const output = { out: "", err: "" };
  child.stdout.on("data", (text) => (output.out += text));
  child.stderr.on("data", (text) => (output.err += text));
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal, ...output }));
  return { child, ended };
}

export let admin: Admin;

/** Connects to the shared broker for a test file, and kills the commands that a test has left behind. */
export function useKafka(): void {
  beforeAll(async () => {
    admin = kafka.admin();
    await admin.connect();
  });
  afterAll(() => admin.disconnect());
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
  });
}

/** The high watermark of each partition, as kafkajs sees it; empty while the topic does not exist or is being made. */
export async function heights(topic: string): Promise<Map<number, number>> {
  try {
    if (!(await admin.listTopics()).includes(topic)) return new Map();
    return new Map((await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, Number(high)]));
  } catch (error) {
    if (error instanceof KafkaJSProtocolError && error.type === "NOT_LEADER_FOR_PARTITION") return new Map();
    throw error;
  }
}

export const total = (counts: Map<number, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);

export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

export interface Read {
  readonly partition: number;
  readonly key: string | undefined;
  readonly value: string | undefined;
  readonly timestamp: number;
  readonly headers: IHeaders | undefined;
}

/** Everything in `topic`, each partition in its order, read by kafkajs. */
export async function readAll(topic: string, from = brokers): Promise<Read[]> {
  const oracle = new Kafka({ clientId: "oracle", brokers: from.split(","), logLevel: logLevel.NOTHING });
  const asker = oracle.admin();
  await asker.connect();
  const expected = (await asker.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
  await asker.disconnect();
  const consumer = oracle.consumer({ groupId: `${topic}-oracle-${groups++}`, maxWaitTimeInMs: 100 });
  const records: Read[] = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer.on("consumer.crash", ({ payload: { error, restart } }) => {
      if (!restart) reject(error);
    });
    const eachBatch = async ({
      batch: { partition, messages },
    }: {
      batch: { partition: number; messages: Message[] };
    }) => {
      for (const { key, value, timestamp, headers } of messages) {
        const text = { key: key?.toString(), value: value?.toString() };
        records.push({ partition, ...text, timestamp: Number(timestamp), headers });
      }
      if (records.length >= expected) resolve();
    };
    consumer.run({ eachBatch }).catch(reject);
  });
  await consumer.disconnect();
  return records;
}

type Message = { key: Buffer | null; value: Buffer | null; timestamp: string; headers?: IHeaders };

/** The partition that kafkajs's own Java-compatible partitioner gives a key. */
const kafkajsPartitioner = Partitioners.DefaultPartitioner();
/** The partition that kafkajs gives a key: an oracle for ours. */
export function kafkajsPartition(key: string, partitions: number): number {
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 1,
    replicas: [],
    isr: [],
  }));
  return kafkajsPartitioner({ topic: "any", partitionMetadata, message: { key, value: "" } });
}
