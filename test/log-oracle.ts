import { type IHeaders, Kafka, logLevel } from "kafkajs";
import type { OracleRecord } from "./oracle.ts";

/** A record as kafkajs gives it. */
export interface LogRecord extends OracleRecord {
  readonly key: Buffer | null;
  readonly headers: IHeaders;
}

/**
 * Reads a whole topic with kafkajs, so that the oracle shares no line with our reader. Offsets are as Kafka gives them;
 * records of aborted transactions are left out, as read-committed consumers see it.
 */
export async function readLog(brokers: string, topic: string): Promise<ReadonlyMap<number, readonly LogRecord[]>> {
  const kafka = new Kafka({ clientId: "oracle", brokers: brokers.split(","), logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const ends = new Map((await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, BigInt(high)]));
  await admin.disconnect();
  const log = new Map<number, LogRecord[]>([...ends.keys()].map((partition) => [partition, []]));
  const waiting = new Set([...ends].filter(([, end]) => end > 0n).map(([partition]) => partition));
  if (waiting.size === 0) return log;
  const consumer = kafka.consumer({
    groupId: `oracle-${topic}-${Math.random()}`,
    readUncommitted: false,
    maxWaitTimeInMs: 100,
  });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer
      .run({
        autoCommit: false,
        eachBatch: async ({ batch }) => {
          const end = ends.get(batch.partition) ?? 0n;
          for (const { offset, value, key, headers = {} } of batch.messages) {
            if (BigInt(offset) < end) log.get(batch.partition)?.push({ offset: BigInt(offset), value, key, headers });
          }
          if (BigInt(batch.lastOffset()) + 1n >= end) waiting.delete(batch.partition);
          if (waiting.size === 0) resolve();
        },
      })
      .catch(reject);
  });
  await consumer.disconnect();
  return log;
}
