import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { position } from "../../core/log/position.ts";
import { LETTER } from "../../store/dead-letters/dead-letters.ts";
import { DeadLetters } from "../../store/dead-letters/letter-writer.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { KafkaProxy } from "../fixtures/servers/kafka-proxy.ts";

/** Brokers that fall silent, and records that Kafka refuses: nobody waits for ever, and nobody pays for others. */

const brokers = inject("kafkaBrokers");
const run = `producer-${Date.now().toString(36)}`;
let topics = 0;

async function freshTopic(config: Record<string, string> = {}): Promise<string> {
  const name = `${run}-${topics++}`;
  await ensureTopics(brokers, [{ name, partitions: 1, config }]);
  return name;
}

/** Every record of the topic's only partition. */
async function readAll(topic: string) {
  const log = new LogReader({ brokers, clientId: "producer-test" });
  const found: { key: string; value: string | null; headers: Map<string, string> }[] = [];
  const to = (await log.bounds(topic)).stable.get(0) ?? position(0n);
  for await (const { records } of log.read(topic, { partition: 0, from: position(0n), to }, { maxBytes: 1_000_000 })) {
    const { keys, values, headers } = records;
    for (const [index, value] of values.entries())
      found.push({
        key: String(keys[index]),
        value: value === null ? null : String(value),
        headers: new Map((headers[index] ?? []).map(([name, one]) => [String(name), String(one)])),
      });
  }
  await log.close();
  return found;
}

describe("a producer whose broker vanishes without a word", () => {
  let proxy: KafkaProxy;
  beforeAll(async () => {
    proxy = await KafkaProxy.open(brokers);
  });
  afterAll(() => proxy.close());

  test("gives the connection up, and sends each record once by another one", async () => {
    const topic = await freshTopic();
    const producer = await openProducer({ brokers: proxy.brokers, silenceMs: 1_000 });
    const numbers = Array.from({ length: 3_000 }, (_, index) => ({ key: null, value: `${index}` }));
    await producer.send(topic, numbers.slice(0, 1_000));
    proxy.silence();
    await Promise.all([producer.send(topic, numbers.slice(1_000, 2_000)), producer.send(topic, numbers.slice(2_000))]);
    await producer.close();
    expect((await readAll(topic)).map(({ value }) => Number(value))).toEqual(numbers.map((_, index) => index));
  });

  test("says what the last failure was when its time is over, and closes although nothing is taken", async () => {
    const topic = await freshTopic();
    const producer = await openProducer({ brokers: proxy.brokers, silenceMs: 500, deliveryMs: 2_000 });
    await producer.send(topic, [{ key: null, value: "before" }]);
    proxy.silence({ forEver: true });
    const large = "x".repeat(9_000_000);
    const sends = [large, "behind"].map((value) => producer.send(topic, [{ key: null, value }]));
    for (const send of await Promise.allSettled(sends))
      expect(send).toMatchObject({
        status: "rejected",
        reason: {
          code: "NOT_READY",
          message: `Kafka does not answer at ${proxy.brokers}: ${proxy.brokers} has not answered for 0.5 s`,
        },
      });
    await producer.close();
    proxy.silence({ forEver: false });
  });
});

test("a producer that is being closed sends what it has, and takes nothing more", async () => {
  const topic = await freshTopic();
  const producer = await openProducer({ brokers });
  await producer.send(topic, [{ key: null, value: "0" }]);
  const sent = producer.send(topic, [{ key: null, value: "1" }]);
  const closed = producer.close();
  await expect(producer.send(topic, [{ key: null, value: "2" }])).rejects.toThrow("closed producer");
  await Promise.all([sent, closed]);
  expect((await readAll(topic)).map(({ value }) => value)).toEqual(["0", "1"]);
});

test("a dead letter that Kafka refuses loses its bytes, and none that is sent beside it", async () => {
  const topic = `${run}-stream`;
  await ensureTopics(brokers, [
    { name: deadLetterTopic(topic), partitions: 1, config: { "max.message.bytes": "2000" } },
  ]);
  const letters = new DeadLetters(brokers, "");
  const rejected = (offset: number) => ({
    ...{ partition: 0, offset: position(BigInt(offset)), reject: "not-json" as const, key: null },
    value: Buffer.from(`${offset} `.repeat(offset % 8 === 3 ? 1_000 : 1)),
  });
  const calls = Array.from({ length: 8 }, (_, call) => [0, 1, 2].map((index) => rejected(call * 3 + index)));
  await Promise.all(calls.map((call) => letters.send({ stream: { name: "any", topic: null }, topic }, call)));
  await letters.close();
  const held = new Map((await readAll(deadLetterTopic(topic))).map((one) => [one.key, one]));
  for (const { offset, value } of calls.flat()) {
    const letter = held.get(`${topic}:0:${offset}`);
    if (Number(offset) % 8 === 3) {
      expect(letter?.value).toBeNull();
      expect(letter?.headers.get(LETTER.originalBytes)).toBe(String(value.length));
    } else expect(letter?.value).toBe(String(value));
  }
});
