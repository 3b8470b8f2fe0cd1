import { Consumer } from "@platformatic/kafka";
import { at, type Cut } from "../../core/log/position.ts";

export interface BareLoop {
  readonly brokers: string;
  readonly topic: string;
  /** Where reading ends. */
  readonly end: Cut;
  /** How much one fetch asks for. */
  readonly maxBytes: number;
}

/**
 * The ceiling: the client's own fetch from explicit positions, a parse of each message, and nothing else. Events a
 * second.
 */
export async function bareLoop(
  { brokers, topic, end, maxBytes }: BareLoop,
  parse: (value: Buffer) => unknown = (value) => JSON.parse(value.toString()),
): Promise<number> {
  const consumer = new Consumer({ clientId: "bench", groupId: "bench", bootstrapBrokers: brokers.split(",") });
  const found = (await consumer.metadata({ topics: [topic] })).topics.get(topic);
  if (found === undefined) throw new Error(`no topic ${topic}`);
  const next = new Map([...end.keys()].map((partition): [number, bigint] => [partition, 0n]));
  let events = 0;
  const startMs = performance.now();
  for (;;) {
    const open = [...next].filter(([partition, position]) => position < at(end, partition));
    if (open.length === 0) break;
    const partitions = open.map(([partition, fetchOffset]) => ({
      partition,
      fetchOffset,
      currentLeaderEpoch: -1,
      lastFetchedEpoch: -1,
      partitionMaxBytes: Math.ceil(maxBytes / open.length),
    }));
    const answer = await consumer.fetch({
      node: found.partitions[0]?.leader ?? 0,
      maxWaitTime: 100,
      minBytes: 1,
      maxBytes,
      topics: [{ topicId: found.id, partitions }],
    });
    for (const { partitionIndex, records = [] } of answer.responses.flatMap((response) => response.partitions)) {
      for (const batch of records) {
        for (const { value } of batch.records) if (value !== null && typeof parse(value) === "object") events += 1;
        next.set(partitionIndex, batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n);
      }
    }
  }
  const rate = (events / (performance.now() - startMs)) * 1_000;
  await consumer.close(true);
  return rate;
}
