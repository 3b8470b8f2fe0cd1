import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Connection } from "@platformatic/kafka";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unwatched } from "../../stack/process/work.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { createServers } from "../../stack/servers/servers.ts";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { partitionOf } from "../../store/kafka/produce/partitioner.ts";
import { type EventProducer, type EventRecord, openProducer } from "../../store/kafka/produce/producer.ts";
import { anyText } from "../fixtures/events/any-text.ts";
import { brokers, freshNamespace, kafkajsPartition, type Read, readAll, run, seed, until, useKafka } from "./topics.ts";

useKafka();

async function sendNumbers(
  producer: EventProducer,
  topic: string,
  calls: number,
  each: number,
  onProgress = (_: number) => {},
): Promise<number> {
  let acknowledged = 0;
  let before: Promise<void> = Promise.resolve();
  for (let call = 0; call < calls; call++) {
    const records = Array.from({ length: each }, (_, i) => ({
      key: keyOf(call * each + i),
      value: `${call * each + i}`,
    }));
    const sent = producer.send(topic, records).then(() => {
      acknowledged += each;
      onProgress(acknowledged);
    });
    await before;
    before = sent;
  }
  await before;
  return acknowledged;
}

const keyOf = (number: number) => `k${number % 50}`;

/** Fails unless `records` are the numbers below `count`, each once, where its key belongs, in order there. */
async function expectNumbersOnce(records: readonly Read[], count: number): Promise<void> {
  const homes = Array.from({ length: 50 }, (_, i) => kafkajsPartition(keyOf(i), 3));
  for (const home of [0, 1, 2]) {
    const held = records.filter(({ partition }) => partition === home).map(({ value }) => Number(value));
    expect(held).toEqual(Array.from({ length: count }, (_, i) => i).filter((i) => homes[i % 50] === home));
  }
}

const produceApi = 0;

/** Calls `onBatch` with the connection whenever a batch was written to one, until the result is called. */
function watchBatches(onBatch: (connection: Connection) => void): () => void {
  const written = "tracing:plt:kafka:connections:api:end";
  const onWritten = (message: unknown) => {
    const { apiKey, connection } = message as { apiKey: number; connection: Connection };
    if (apiKey === produceApi) onBatch(connection);
  };
  subscribe(written, onWritten);
  return () => unsubscribe(written, onWritten);
}

describe("the producer", () => {
  test("chooses the partition that kafkajs chooses", () => {
    fc.assert(
      fc.property(anyText(), fc.integer({ min: 1, max: 50 }), (key, partitions) => {
        expect(partitionOf(key, partitions)).toBe(kafkajsPartition(key, partitions));
      }),
      { seed },
    );
  });

  test("writes keys, values and headers as kafkajs reads them, with the time of sending, in order, however large the calls", async () => {
    const topic = topicName(freshNamespace(), "any");
    await ensureTopics(brokers, [{ name: topic, partitions: 2 }]);
    const producer = await openProducer({ brokers });
    const large = "é".repeat(600_000);
    const records: EventRecord[] = [
      { key: "a", value: "plain", partition: 1 },
      { key: null, value: null, partition: 1 },
      { key: Buffer.from("b"), value: large, partition: 1, headers: { type: "x", raw: Buffer.of(1) } },
      ...Array.from({ length: 30_000 }, (_, i) => ({ key: "c", value: `${i}`, partition: 1 })),
    ];
    const began = Date.now();
    const calls = [records.slice(0, 2), records.slice(2, 5), records.slice(5, 20_000), records.slice(20_000)];
    const acknowledged = await Promise.all(calls.map((call) => producer.send(topic, call)));
    expect(acknowledged.map((offsets) => Number(offsets.get(1)))).toEqual([1, 4, 19_999, records.length - 1]);
    await producer.close();
    const read = await readAll(topic);
    expect(read.map(({ key, value }) => ({ key, value }))).toEqual(
      records.map(({ key, value }) => ({ key: key?.toString(), value: value?.toString() })),
    );
    for (const { timestamp } of read)
      if (timestamp < began || timestamp > Date.now()) expect.fail(`sent at ${timestamp}`);
    expect(read[2]?.headers).toEqual({ type: Buffer.from("x"), raw: Buffer.of(1) });
  });

  test("names a topic that does not exist, and sends nothing afterwards to a closed one", async () => {
    const producer = await openProducer({ brokers });
    await expect(producer.send(`${run}-nowhere`, [{ key: null, value: "x" }])).rejects.toMatchObject({
      code: "TOPIC_MISSING",
    });
    await producer.close();
    await expect(producer.send(`${run}-nowhere`, [])).rejects.toThrow("closed");
  });

  test("keeps the order of a thousand overlapping calls in few batches", async () => {
    const topic = topicName(freshNamespace(), "any");
    await ensureTopics(brokers, [{ name: topic, partitions: 2 }]);
    const producer = await openProducer({ brokers });
    let batches = 0;
    const stop = watchBatches(() => batches++);
    const calls = Array.from({ length: 1_000 }, (_, i) =>
      producer.send(topic, [{ key: null, value: `${i}`, partition: i % 2 }]),
    );
    const acknowledged = await Promise.all(calls);
    stop();
    await producer.close();
    expect(batches).toBeLessThan(10);
    expect(acknowledged.map((offsets, i) => Number(offsets.get(i % 2)))).toEqual(
      calls.map((_, i) => Math.floor(i / 2)),
    );
    for (const partition of [0, 1]) {
      const values = (await readAll(topic))
        .filter((record) => record.partition === partition)
        .map(({ value }) => Number(value));
      expect(values).toEqual(Array.from({ length: 500 }, (_, i) => 2 * i + partition));
    }
  });

  test("sends nothing behind a record that Kafka refuses", async () => {
    const topic = topicName(freshNamespace(), "any");
    await ensureTopics(brokers, [{ name: topic, partitions: 1 }]);
    const producer = await openProducer({ brokers });
    const sends = ["before", "x".repeat(11 * 1024 * 1024), "behind"].map((value) =>
      producer.send(topic, [{ key: null, value }]),
    );
    const [before, ...others] = await Promise.allSettled(sends);
    expect(before).toMatchObject({ status: "fulfilled" });
    for (const other of others) expect(other).toMatchObject({ reason: { code: "WRITE_REFUSED" } });
    await expect(producer.send(topic, [{ key: null, value: "later" }])).rejects.toMatchObject({
      code: "WRITE_REFUSED",
    });
    await producer.close();
    expect((await readAll(topic)).map(({ value }) => value)).toEqual(["before"]);
  });

  test("loses and repeats nothing when connections break while answers are on their way", async () => {
    const topic = topicName(freshNamespace(), "any");
    await ensureTopics(brokers, [{ name: topic, partitions: 3 }]);
    const producer = await openProducer({ brokers });
    let batches = 0;
    const stop = watchBatches((connection) => {
      if (++batches % 5 === 0) setTimeout(() => connection.socket.destroy(), batches % 8);
    });
    const acknowledged = await sendNumbers(producer, topic, 100, 300);
    stop();
    await producer.close();
    expect(batches).toBeGreaterThan(100);
    expect(acknowledged).toBe(30_000);
    await expectNumbersOnce(await readAll(topic), 30_000);
  });

  test("loses and repeats nothing when the broker is killed in the middle of batches and started again", async () => {
    const home = await mkdtemp(join(tmpdir(), "tideline-ingest-"));
    const { kafka: own } = createServers({ home, ports: await freePorts() });
    try {
      await own.start(unwatched);
      const topic = topicName(freshNamespace(), "any");
      await ensureTopics(own.address, [{ name: topic, partitions: 3 }]);
      const producer = await openProducer({ brokers: own.address });
      let acknowledged = 0;
      const sending = sendNumbers(producer, topic, 100, 2_000, (count) => {
        acknowledged = count;
      });
      await until(async () => acknowledged > 20_000);
      await own.kill("SIGKILL");
      expect(acknowledged).toBeLessThan(200_000);
      await own.start(unwatched);
      expect(await sending).toBe(200_000);
      await producer.close();
      await expectNumbersOnce(await readAll(topic, own.address), 200_000);
    } finally {
      await own.stop();
      await rm(home, { recursive: true, force: true });
    }
  });

  test("gets no topic with fewer partitions than its stream asks for", async () => {
    const topic = topicName(freshNamespace(), "any");
    await Promise.all([1, 2].map(() => ensureTopics(brokers, [{ name: topic, partitions: 2 }])));
    await ensureTopics(brokers, [{ name: topic, partitions: 1 }]);
    await expect(ensureTopics(brokers, [{ name: topic, partitions: 3 }])).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});
