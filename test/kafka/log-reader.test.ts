import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import { Admin, ConnectionPool, Writer } from "@platformatic/kafka";
import { Kafka, logLevel, Partitioners } from "kafkajs";
import { afterAll, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { checkKeys } from "../../cli/doctor/keys.ts";
import { loadConfig } from "../../cli/setup/config.ts";
import { at, type Cut, type Position, position } from "../../core/log/position.ts";
import { PartitionWatch } from "../../speed-layer/partition-watch.ts";
import { parseBroker, parseBrokers } from "../../store/kafka/cluster/brokers.ts";
import { KafkaCluster } from "../../store/kafka/cluster/kafka-cluster.ts";
import { withLeaderless } from "../../store/kafka/cluster/leaderless-metadata.ts";
import { noLeader } from "../../store/kafka/cluster/log-errors.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { type FetchQuestion, fetchApi, fetchRequest } from "../../store/kafka/read/fetch-answer.ts";
import { FetchTurns, planFetch } from "../../store/kafka/read/fetch-plan.ts";
import { type FetchedPartition, LogReader, type LogSource, readSpan } from "../../store/kafka/read/log.ts";
import { batchesOf, expandLimits } from "../../store/kafka/read/record-batch.ts";
import { FailureTracker } from "../../store/redis/failure-tracker.ts";

/** Reading Kafka as its Java client does: checksums, turns, quotas, partitions that cannot be read. */

const brokers = inject("kafkaBrokers");
const producer = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).producer({
  createPartitioner: Partitioners.DefaultPartitioner,
});
const log = new LogReader({ brokers, clientId: "log-reader" });
const pool = new ConnectionPool("log-reader-test");
const KIB = 1024;
const MIB = KIB * KIB;
const LIMITS = { maxWaitMs: 100, maxBytes: MIB };

beforeAll(() => producer.connect());
afterAll(async () => {
  await producer.disconnect();
  await log.close();
  await pool.close();
});

type Op = Parameters<Admin["alterClientQuotas"]>[0]["entries"][number]["ops"][number];

async function topicWith(partitions: number, config: Record<string, string> = {}): Promise<string> {
  const name = `log-reader-${randomUUID().slice(0, 8)}`;
  await ensureTopics(brokers, [{ name, partitions, config }]);
  return name;
}

async function send(topic: string, partition: number, values: readonly string[]): Promise<void> {
  await producer.send({ topic, messages: values.map((value) => ({ partition, key: "k", value, timestamp: "1000" })) });
}

const cut = (...positions: number[]): Cut => new Map(positions.map((held, partition) => [partition, position(held)]));

const valuesOf = (found: readonly FetchedPartition[]) =>
  found.flatMap(({ records }) => records.values.map((value) => String(value)));

/** What the broker answers, as bytes. */
async function answerOf(topic: string, more: Partial<FetchQuestion> = {}) {
  const { id } = await log.topic(topic);
  const question = { topicId: id, partitions: [{ partition: 0, fetchOffset: 0n }], maxWaitMs: 100, maxBytes: MIB };
  const [broker = { host: "", port: 0 }] = parseBrokers(brokers);
  const request = fetchRequest({ ...question, partitionMaxBytes: MIB, ...more });
  const answer = await fetchApi.async(await pool.get(broker), ...request);
  return { answer, request, bytes: Buffer.from(answer.partitions[0]?.batches ?? []) };
}

/**
 * Replaces a text by another of the same length in the file in which Kafka keeps a partition. Kafka sends it as it lies
 * there.
 */
async function rewriteOnDisk(topic: string, partition: number, from: string, to: string): Promise<void> {
  const file = await open(join(inject("kafkaFolder"), `${topic}-${partition}`, "00000000000000000000.log"), "r+");
  const found = (await file.readFile()).indexOf(from);
  expect(found).toBeGreaterThan(0);
  await file.write(Buffer.from(to), 0, to.length, found);
  await file.close();
}

describe("the checksum of a batch", () => {
  test("a batch with one digit of a value changed is BATCH_CORRUPT, and nothing of it is read", async () => {
    const topic = await topicWith(1);
    await send(topic, 0, ['{"cents":123}']);
    await send(topic, 0, ['{"cents":456}']);
    const { bytes } = await answerOf(topic);
    const read = (from: bigint) => batchesOf(bytes, from, expandLimits(MIB), `${topic}/0`);
    expect(read(0n)).toHaveLength(2);
    bytes[bytes.indexOf("456")] = "9".charCodeAt(0);
    expect(read(0n)).toHaveLength(1);
    bytes[bytes.indexOf("123")] = "9".charCodeAt(0);
    expect(() => read(0n)).toThrow(expect.objectContaining({ code: "BATCH_CORRUPT" }));
  });

  test("no bit of a batch can change unseen, but those that its checksum leaves out", async () => {
    const topic = await topicWith(1);
    await send(topic, 0, ["one", "two"]);
    const { bytes } = await answerOf(topic);
    const unseen = new Set<number>();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      try {
        batchesOf(changed, 0n, expandLimits(MIB));
        unseen.add(bit >> 3);
      } catch (error) {
        expect(error).toMatchObject({ code: "BATCH_CORRUPT" });
      }
    }
    // The first offset and the leader's epoch, which a broker writes after the producer made the checksum.
    expect([...unseen]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15]);
  });

  test("one damaged partition is reported and left out; the others go on, and it is read when it is whole again", async () => {
    const topic = await topicWith(2);
    for (const partition of [0, 1]) await send(topic, partition, [`{"cents":12${partition}}`]);
    const failures = new FailureTracker(null);
    const watch = new PartitionWatch({ failures, lane: "sales", generations: () => ["g1"] });
    const reader = new LogReader({ brokers, clientId: "damaged", watch });
    try {
      await rewriteOnDisk(topic, 0, "120", "920");
      expect(valuesOf(await reader.fetch(topic, cut(0, 0), LIMITS))).toEqual(['{"cents":121}']);
      const shown = { kind: "lane", name: "sales (partition 0)", views: ["g1"], code: "BATCH_CORRUPT" };
      expect(failures.problems()).toEqual([expect.objectContaining(shown)]);
      await expect(reader.fetch(topic, cut(0), LIMITS)).rejects.toMatchObject({ code: "BATCH_CORRUPT" });
      await rewriteOnDisk(topic, 0, "920", "120");
      expect(valuesOf(await reader.fetch(topic, cut(0), LIMITS))).toEqual(['{"cents":120}']);
      const both = await reader.fetch(topic, cut(0, 0), LIMITS);
      expect(valuesOf(both)).toEqual(['{"cents":120}', '{"cents":121}']);
      expect(failures.problems()).toEqual([]);
    } finally {
      await reader.close();
    }
  });
});

test("a partition that fails three times for one reason is a problem until it is read, or another process has it", () => {
  const failures = new FailureTracker(null);
  const watch = new PartitionWatch({ failures, lane: "sales", generations: () => [] });
  const names = () => failures.problems().map(({ name }) => name);
  for (const partition of [3, 4, 3, 4]) watch.failed("t", partition, noLeader("t", partition));
  expect(names()).toEqual([]);
  for (const partition of [3, 4]) watch.failed("t", partition, noLeader("t", partition));
  expect(names()).toEqual(["sales (partition 3)", "sales (partition 4)"]);
  watch.answered("t", 3);
  watch.answered("t", 5);
  expect(names()).toEqual(["sales (partition 4)"]);
  watch.clear();
  expect(names()).toEqual([]);
});

describe("a record's time", () => {
  for (const compression of ["uncompressed", "gzip"])
    test(`is the broker's in a topic with LogAppendTime (${compression})`, async () => {
      const config = { "message.timestamp.type": "LogAppendTime", "compression.type": compression };
      const [appended, created] = [await topicWith(1, config), await topicWith(1)];
      const beforeMs = Date.now();
      for (const topic of [appended, created]) await send(topic, 0, ["one", "two"]);
      const timesOf = async (topic: string) => (await log.fetch(topic, cut(0), LIMITS))[0]?.records.timestampsMs ?? [];
      expect(await timesOf(created)).toEqual([1000, 1000]);
      const times = await timesOf(appended);
      expect(times).toHaveLength(2);
      for (const time of times) {
        expect(time).toBeGreaterThanOrEqual(beforeMs - 1_000);
        expect(time).toBeLessThanOrEqual(Date.now() + 1_000);
      }
    });
});

describe("turns", () => {
  test("a batch larger than a partition's share is read although a partition before it always has data", async () => {
    const topic = await topicWith(3);
    const filler = Array.from({ length: 8 }, () => "x".repeat(200 * KIB));
    for (let batch = 0; batch < 12; batch++) await send(topic, 0, filler);
    await send(topic, 2, ["y".repeat(5 * MIB)]);
    let positions = cut(0, 0, 0);
    let fetches = 0;
    for (; at(positions, 2) === 0n && fetches < 10; fetches++) {
      const found = await log.fetch(topic, positions, { maxWaitMs: 100, maxBytes: 6 * MIB });
      positions = new Map([...positions, ...found.map(({ partition, to }): [number, Position] => [partition, to])]);
    }
    expect(fetches).toBeLessThan(4);
    expect(at(positions, 2)).toBe(1n);
    expect(at(positions, 0)).toBeLessThan(96n);
  });

  test("a partition that failed waits longer each time, unless nothing else is asked for", () => {
    const turns = new FetchTurns();
    expect(turns.turn([2, 0, 1], 0)).toEqual([0, 1, 2]);
    turns.answered(0, true);
    turns.answered(1, false);
    expect(turns.turn([0, 1, 2], 0)).toEqual([1, 2, 0]);
    turns.failed(1, 1_000);
    expect(turns.turn([0, 1, 2], 1_099)).toEqual([2, 0]);
    expect(turns.turn([1], 1_000)).toEqual([1]);
    expect(turns.turn([0, 1, 2], 1_100)).toEqual([1, 2, 0]);
    turns.failed(1, 1_100);
    expect(turns.turn([0, 1, 2], 1_299)).toEqual([2, 0]);
    turns.answered(1, false);
    expect(turns.turn([0, 1, 2], 1_299)).toEqual([1, 2, 0]);
  });

  test("a fetch's bytes are divided among all partitions, whichever broker leads them; those without a leader are left out", () => {
    const [one, two] = [
      { host: "one", port: 1 },
      { host: "two", port: 2 },
    ];
    const MIB = 1024 * 1024;
    const plan = planFetch([3, 0, 1, 2], [one, two, undefined, one], 24 * MIB);
    expect(plan).toEqual({
      shares: [
        { leader: one, partitions: [3, 0], maxBytes: 12 * MIB },
        { leader: two, partitions: [1], maxBytes: 6 * MIB },
      ],
      partitionBytes: 6 * MIB,
      equalBytes: 6 * MIB,
      leaderless: [2],
    });
    // Each of many partitions may fill a part of the fetch that holds more than one batch.
    const all = Array.from({ length: 256 }, (_, partition) => partition);
    const wide = planFetch(
      all,
      all.map(() => one),
      24 * MIB,
    );
    expect(wide).toMatchObject({ partitionBytes: MIB, shares: [{ maxBytes: 24 * MIB }] });
    expect(planFetch([0], [one], 1)).toMatchObject({ partitionBytes: 1, shares: [{ maxBytes: 1 }] });
  });
});

/**
 * A broker that knows three requests. Of a topic's metadata it says that it leads partition 0 itself, and that the
 * leader of partition 1 is away. The log of each partition that it leads is [2, 7).
 */
async function halfLed(topic: string): Promise<Server> {
  const server = createServer((socket) => {
    const { port } = server.address() as AddressInfo;
    const known: readonly [api: number, version: number][] = [
      [LIST_OFFSETS, 8],
      [METADATA, 12],
      [API_VERSIONS, 3],
    ];
    socket.on("data", (request) => {
      const [api, head] = [request.readInt16BE(4), Writer.create().appendInt32(request.readInt32BE(8))];
      if (api === API_VERSIONS) {
        head.appendInt16(0);
        head.appendArray([...known], (to, [key, version]) => to.appendInt16(key).appendInt16(0).appendInt16(version));
        return socket.write(head.appendInt32(0).appendTaggedFields().prependLength().buffer);
      }
      if (api === LIST_OFFSETS) {
        const isEarliest = request.includes(EARLIEST_OFFSET);
        head.appendTaggedFields().appendInt32(0);
        head.appendArray([topic], (to) => {
          to.appendString(topic).appendArray([0], (part, partition) => {
            part.appendInt32(partition).appendInt16(0).appendInt64(-1n);
            part.appendInt64(isEarliest ? 2n : 7n).appendInt32(0);
          });
        });
        return socket.write(head.appendTaggedFields().prependLength().buffer);
      }
      const body = head
        .appendTaggedFields()
        .appendInt32(0)
        .appendArray([port], (to) => to.appendInt32(1).appendString("127.0.0.1").appendInt32(port).appendString(null))
        .appendString("cluster")
        .appendInt32(1)
        .appendArray([topic], (to) => {
          to.appendInt16(0).appendString(topic).appendUUID(randomUUID()).appendBoolean(false);
          to.appendArray([0, 1], (part, partition) => {
            part.appendInt16(partition === 0 ? 0 : LEADER_NOT_AVAILABLE).appendInt32(partition);
            part.appendInt32(partition === 0 ? 1 : -1).appendInt32(0);
            for (const nodes of [[1], [1], []])
              part.appendArray(nodes, (to, node) => to.appendInt32(node), true, false);
          });
          to.appendInt32(0);
        })
        .appendTaggedFields();
      return socket.write(body.prependLength().buffer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
const LEADER_NOT_AVAILABLE = 5;
const [LIST_OFFSETS, METADATA, API_VERSIONS] = [2, 3, 18];
const EARLIEST_OFFSET = Buffer.from("fffffffffffffffe", "hex");

test("a topic is known although one of its partitions has no leader", async () => {
  const server = await halfLed("half");
  const { port } = server.address() as AddressInfo;
  const cluster = new KafkaCluster(`127.0.0.1:${port}`, "half-led");
  try {
    const { leaders } = await cluster.topic("half");
    expect(leaders).toEqual([expect.objectContaining({ host: "127.0.0.1", port }), undefined]);
    await expect(cluster.offsets("half", -1n)).rejects.toMatchObject({ code: "LOG_UNREADABLE" });
  } finally {
    await cluster.close();
    server.close();
  }
});

test("the bounds of the partitions that have a leader are known; one that has none is a named problem", async () => {
  const server = await halfLed("half");
  const { port } = server.address() as AddressInfo;
  const failures = new FailureTracker(null);
  const watch = new PartitionWatch({ failures, lane: "half", generations: () => ["g1"] });
  const reader = new LogReader({ brokers: `127.0.0.1:${port}`, clientId: "half-led", watch });
  try {
    const led = { start: cut(2), stable: cut(7) };
    expect(await reader.readableBounds("half")).toEqual({ ...led, leaderless: [1] });
    expect(await reader.bounds("half", [0])).toEqual(led);
    await expect(reader.bounds("half")).rejects.toMatchObject({
      code: "LOG_UNREADABLE",
      message: "half/1 has no leader in Kafka: the brokers that hold it are away",
    });
    // While a leader is elected there is none for a moment: a problem is what lasts.
    expect(failures.problems()).toEqual([]);
    for (let times = 0; times < 2; times++) await reader.readableBounds("half");
    const shown = { kind: "lane", name: "half (partition 1)", views: ["g1"], code: "LOG_UNREADABLE" };
    expect(failures.problems()).toEqual([expect.objectContaining(shown)]);
  } finally {
    await reader.close();
    server.close();
  }
});

test("a client of Kafka lists and describes topics of which a partition has no leader", async () => {
  const server = await halfLed("half");
  const { port } = server.address() as AddressInfo;
  const options = { clientId: "half-led", bootstrapBrokers: [`127.0.0.1:${port}`], retries: 0 };
  const [bare, admin] = [new Admin(options), withLeaderless(new Admin(options))];
  try {
    await expect(bare.listTopics()).rejects.toThrow();
    expect(await admin.listTopics()).toEqual(["half"]);
    const { topics } = await admin.metadata({ topics: ["half"] });
    expect(topics.get("half")).toMatchObject({ partitionsCount: 2, partitions: [{ leader: 1 }, { leader: -1 }] });
  } finally {
    await Promise.all([bare.close(), admin.close()]);
    server.close();
  }
});

test("a broker that accepts connections and never answers is asked once; then the one that answered is asked first", async () => {
  const topic = await topicWith(2);
  let requests = 0;
  const silent = createServer((socket) => socket.on("data", () => requests++).on("error", () => undefined));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const cluster = new KafkaCluster(`127.0.0.1:${port},${brokers}`, "silent-broker", { answerTimeoutMs: 500 });
  try {
    for (let times = 0; times < 3; times++)
      expect((await cluster.topic(topic, { fresh: true })).leaders).toHaveLength(2);
    expect(requests).toBe(1);
  } finally {
    await cluster.close();
    silent.close();
  }
});

describe("what a broker keeps and refuses", () => {
  test("no fetch session is opened", async () => {
    const topic = await topicWith(1);
    const { answer, request } = await answerOf(topic);
    expect(answer.sessionId).toBe(0);
    // With epoch 0 the same request opens one.
    const [broker = { host: "", port: 0 }] = parseBrokers(brokers);
    const opened = await fetchApi.async(await pool.get(broker), ...(request.with(5, 0) as typeof request));
    expect(opened.sessionId).toBeGreaterThan(0);
  });

  test("a reader whose wall clock is set back by a day goes on reading at once", async () => {
    const topic = await topicWith(1);
    const reader = new LogReader({ brokers, clientId: `clock-${topic}` });
    const clock = vi.spyOn(Date, "now");
    try {
      await send(topic, 0, ["a"]);
      expect(valuesOf(await reader.fetch(topic, cut(0), LIMITS))).toEqual(["a"]);
      const realMs = performance.timeOrigin + performance.now();
      clock.mockReturnValue(Math.round(realMs - 86_400_000));
      await send(topic, 0, ["b"]);
      expect(valuesOf(await reader.fetch(topic, cut(1), LIMITS))).toEqual(["b"]);
    } finally {
      clock.mockRestore();
      await reader.close();
    }
  });

  test("a reader that a quota slows down reads everything", async () => {
    const topic = await topicWith(1);
    const values = Array.from({ length: 30 }, (_, index) => `${index}`.padEnd(10 * KIB, "."));
    for (const value of values) await send(topic, 0, [value]);
    const admin = new Admin({ clientId: "quota", bootstrapBrokers: [brokers] });
    const clientId = `slow-${topic}-fetch`;
    const quota = (bytesPerSecond: number | null) => {
      const key = "consumer_byte_rate";
      const op: Op = bytesPerSecond === null ? { key, remove: true } : { key, value: bytesPerSecond, remove: false };
      const entities = [{ entityType: "client-id" as const, entityName: clientId }];
      return admin.alterClientQuotas({ entries: [{ entities, ops: [op] }], validateOnly: false });
    };
    await quota(100 * KIB);
    const reader = new LogReader({ brokers, clientId: `slow-${topic}` });
    try {
      let throttled = 0;
      const source: Pick<LogSource, "fetch" | "bounds"> = {
        fetch: async (...question) => {
          const answers = await reader.fetch(...question);
          if (answers.length === 0) throttled += 1;
          return answers;
        },
        bounds: (name) => reader.bounds(name),
      };
      // A quota allows a burst, and it takes a moment until the broker knows of it.
      while (throttled === 0) {
        const found: FetchedPartition[] = [];
        const span = readSpan(
          source,
          topic,
          { partition: 0, from: position(0), to: position(30) },
          { maxBytes: 20 * KIB },
        );
        for await (const fetched of span) found.push(fetched);
        expect(valuesOf(found)).toEqual(values);
      }
    } finally {
      await quota(null);
      await admin.close();
      await reader.close();
    }
  });
});

describe("a span that does not come", () => {
  const answer = (stable: number): FetchedPartition => ({
    ...{
      partition: 0,
      from: position(5),
      to: position(5),
      control: [],
      firstLeaderEpoch: 0,
      leaderEpoch: 0,
      fetchedAtMs: 0,
    },
    ...{ records: undefined as never, logStart: position(0), stable: position(stable) },
  });
  /** Reads [5, 8) of a log that answers as it is told, then with the records. */
  const read = async (answers: readonly (FetchedPartition | undefined)[]) => {
    const left = [...answers];
    const whole = { ...answer(8), to: position(8) };
    const fetch = async () => (left.length === 0 ? [whole] : [left.shift()].filter((one) => one !== undefined));
    const bounds = async () => ({ start: cut(0), stable: cut(8) });
    const found: FetchedPartition[] = [];
    const span = { partition: 0, from: position(5), to: position(8) };
    for await (const one of readSpan({ fetch, bounds }, "t", span, { maxBytes: MIB })) found.push(one);
    return found.length;
  };

  test("answers that say nothing of the partition are waited out, however many", async () => {
    expect(await read(Array.from({ length: 30 }, () => undefined))).toBe(1);
  });

  test("a log that ends before the span is LOG_TRUNCATED; one that reaches further is a delay", async () => {
    await expect(read(Array.from({ length: 30 }, () => answer(7)))).rejects.toMatchObject({ code: "LOG_TRUNCATED" });
    await expect(read(Array.from({ length: 30 }, () => answer(9)))).rejects.toMatchObject({ code: "NOT_READY" });
    expect(await read(Array.from({ length: 10 }, () => answer(7)))).toBe(1);
  });
});

describe("the address of a broker", () => {
  test("is a host and a port; an IPv6 address stands in brackets", () => {
    expect(parseBrokers("kafka:9093, [::1]:9092,[2001:db8::7]:1,10.0.0.1")).toEqual([
      { host: "kafka", port: 9093 },
      { host: "::1", port: 9092 },
      { host: "2001:db8::7", port: 1 },
      { host: "10.0.0.1", port: 9092 },
    ]);
    for (const text of ["", "::1", "[::1", "[kafka]:9092", "kafka:0", "kafka:65536", "a b:1", "kafka:1:2"])
      expect(parseBroker(text), text).toBeNull();
    expect(loadConfig({ KAFKA_BROKERS: "[::1]:9092, kafka:1" }).kafkaBrokers).toBe("[::1]:9092,kafka:1");
    for (const wrong of ["kafka", "::1:9092", "[kafka]:9092"])
      expect(() => loadConfig({ KAFKA_BROKERS: wrong })).toThrow("KAFKA_BROKERS");
  });
});

describe("doctor", () => {
  test("notices one key in two partitions, names the places and not the key", async () => {
    const topic = await topicWith(3);
    const keyed = (partition: number, key: string | null) =>
      producer.send({ topic, messages: [{ partition, key, value: "{}" }] });
    for (const [partition, key] of [
      [0, "a@example.org"],
      [0, null],
      [1, null],
      [2, "b"],
      [2, "b"],
    ] as const)
      await keyed(partition, key);
    expect(await checkKeys(log, topic)).toMatchObject({ level: "ok" });
    await keyed(1, "a@example.org");
    const found = await checkKeys(log, topic);
    expect(found).toMatchObject({ level: "warning", todo: expect.stringContaining("murmur2_random") });
    expect(found.message).toContain(`${topic}: partition 0 (offset 0) and partition 1 (offset 1)`);
    expect(JSON.stringify(found)).not.toContain("example");
  });
});
