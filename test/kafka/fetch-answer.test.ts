import { randomUUID } from "node:crypto";
import { CompressionTypes, Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { tooLarge } from "../../core/codec/decode/decode.ts";
import { position } from "../../core/log/position.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { type FetchedPartition, LogReader } from "../../store/kafka/read/log.ts";

/** What Kafka's codecs write is read, whichever client compressed it, and never more at once than was asked for. */

const brokers = inject("kafkaBrokers");
const producer = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).producer();
const log = new LogReader({ brokers, clientId: "fetch-answer" });
const MIB = 1024 * 1024;

beforeAll(() => producer.connect());
afterAll(async () => {
  await producer.disconnect();
  await log.close();
});

/** A topic whose batches the broker compresses with this codec, as its Java clients do. */
async function topicOf(codec: string): Promise<string> {
  const name = `codec-${codec}-${randomUUID().slice(0, 8)}`;
  await ensureTopics(brokers, [{ name, partitions: 1, config: { "compression.type": codec } }]);
  return name;
}

async function send(
  topic: string,
  values: readonly (string | Buffer)[],
  compression = CompressionTypes.None,
): Promise<void> {
  await producer.send({ topic, compression, messages: values.map((value, index) => ({ key: `k${index}`, value })) });
}

/** Every fetch from the topic's beginning on, until `count` records were read. */
async function fetches(topic: string, count: number, maxBytes: number): Promise<FetchedPartition[]> {
  const found: FetchedPartition[] = [];
  for (let next = position(0); next < BigInt(count); ) {
    const [fetched] = await log.fetch(topic, new Map([[0, next]]), { maxWaitMs: 500, maxBytes });
    if (fetched === undefined) throw new Error("nothing was fetched");
    expect(fetched.from).toBe(next);
    found.push(fetched);
    next = fetched.to;
  }
  return found;
}

const valuesOf = (found: readonly FetchedPartition[]) =>
  found.flatMap(({ records }) => Array.from({ length: records.length }, (_, index) => String(records.value(index))));

const few = ["", "short", "øß⚓", "x".repeat(100_000)];
/** Random enough that blocks of all kinds occur. */
const many = Array.from({ length: 3_000 }, (_, index) =>
  `${(index * 2_654_435_761) % 4_294_967_296}`.repeat(1 + (index % 40)),
);

for (const codec of ["uncompressed", "gzip", "snappy", "lz4", "zstd"]) {
  test(`${codec}: every record is read as it was sent, in pieces that a batch is cut into`, async () => {
    const topic = await topicOf(codec);
    await send(topic, few);
    await send(topic, many);
    const found = await fetches(topic, few.length + many.length, 20_000);
    expect(valuesOf(found)).toEqual([...few, ...many]);
    expect(found.length).toBeGreaterThan(codec === "uncompressed" ? 1 : 2);
    const offsets = found.flatMap(({ records }) => Array.from({ length: records.length }, (_, i) => records.offset(i)));
    expect(offsets.map(Number)).toEqual(offsets.map((_, index) => index));
  });

  // What is not compressed does not expand.
  if (codec === "uncompressed") continue;
  test(`${codec}: of a batch that expands to more than the bound, every record is known and none is read`, async () => {
    const topic = await topicOf(codec);
    const large = Buffer.alloc(20 * MIB, "z");
    const huge = Array.from({ length: 7 }, () => large);
    await send(topic, ["before"]);
    await send(topic, huge, CompressionTypes.GZIP);
    await send(topic, ["one", large, "two"], CompressionTypes.GZIP);
    const values = valuesOf(await fetches(topic, 11, 4 * MIB));
    const batch = tooLarge("its batch", 128 * MIB);
    const record = tooLarge("it", 16 * MIB);
    expect(values).toEqual(["before", ...huge.map(() => batch), "one", record, "two"]);
  });
}
