import { type ChildProcess, spawn } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Connection } from "@platformatic/kafka";
import fc from "fast-check";
import { type IHeaders, Kafka, KafkaJSProtocolError, logLevel, Partitioners } from "kafkajs";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { loadConfig, settings } from "../cli/setup/config.ts";
import { TidelineError } from "../core/errors.ts";
import { flights } from "../schemas/flights.ts";
import { type OrderCompletedV1, orderCompleted } from "../schemas/order-completed.ts";
import { unwatched } from "../stack/process/work.ts";
import { freePorts } from "../stack/servers/ports.ts";
import { createServers } from "../stack/servers/servers.ts";
import { ensureTopics, topicName } from "../store/kafka/cluster/topics.ts";
import { partitionOf } from "../store/kafka/produce/partitioner.ts";
import { type EventProducer, type EventRecord, openProducer } from "../store/kafka/produce/producer.ts";
import { flightsFile, openFlights } from "../systems/shop/flights/flights.ts";
import { replayFlights } from "../systems/shop/flights/replay.ts";
import { readTail, resumeAfter } from "../systems/shop/flights/replayed.ts";
import { ordersOf } from "../systems/shop/orders/orders.ts";
import { simulateOrders } from "../systems/shop/orders/simulate.ts";
import { type Delivery, delivered } from "../systems/shop/simulator/disorder.ts";
import type { ShopEvent } from "../systems/shop/simulator/event.ts";
import { type ShopOptions, shopEvents } from "../systems/shop/simulator/shop.ts";
import { ordersUpTo, shopStreams } from "../systems/shop/simulator/simulate.ts";
import { nightly } from "./tiers.ts";

declare module "vitest" {
  interface ProvidedContext {
    kafkaBrokers: string;
  }
}

const brokers = inject("kafkaBrokers");
const kafka = new Kafka({ clientId: "oracle", brokers: brokers.split(","), logLevel: logLevel.NOTHING });
const seed = Math.floor(Math.random() * 2 ** 31);
const run = `test-${Date.now().toString(36)}-${seed.toString(36)}`;
let namespaces = 0;
let groups = 0;
const freshNamespace = () => `${run}-${++namespaces}`;
const never = new AbortController().signal;

const tideline = fileURLToPath(new URL("../cli/tideline.js", import.meta.url));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function startTideline(namespace: string, ...args: string[]) {
  const env = { ...process.env, KAFKA_BROKERS: brokers, TIDELINE_NAMESPACE: namespace };
  const child = spawn(process.execPath, [tideline, ...args], { env, stdio: ["pipe", "pipe", "pipe"] });
  children.push(child);
  const output = { out: "", err: "" };
  child.stdout.on("data", (text) => (output.out += text));
  child.stderr.on("data", (text) => (output.err += text));
  const ended = once(child, "close").then(([code, signal]) => ({ code, signal, ...output }));
  return { child, ended };
}

const admin = kafka.admin();
beforeAll(() => admin.connect());
afterAll(() => admin.disconnect());

/** The high watermark of each partition, as kafkajs sees it; empty while the topic does not exist or is being made. */
async function heights(topic: string): Promise<Map<number, number>> {
  try {
    if (!(await admin.listTopics()).includes(topic)) return new Map();
    return new Map((await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, Number(high)]));
  } catch (error) {
    if (error instanceof KafkaJSProtocolError && error.type === "NOT_LEADER_FOR_PARTITION") return new Map();
    throw error;
  }
}

const total = (counts: Map<number, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

interface Read {
  readonly partition: number;
  readonly key: string | undefined;
  readonly value: string | undefined;
  readonly timestamp: number;
  readonly headers: IHeaders | undefined;
}

/** Everything in `topic`, each partition in its order, read by kafkajs. */
async function readAll(topic: string, from = brokers): Promise<Read[]> {
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
function kafkajsPartition(key: string, partitions: number): number {
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 1,
    replicas: [],
    isr: [],
  }));
  return kafkajsPartitioner({ topic: "any", partitionMetadata, message: { key, value: "" } });
}

/** Rows 0 to `rows` - 1 as the topic should hold them: per partition, by kafkajs's choice, in row order. */
async function expectedRows(rows: number): Promise<Map<number, number[]>> {
  const source = await openFlights(flightsFile());
  const expected = new Map<number, number[]>([0, 1, 2, 3].map((partition) => [partition, []]));
  for await (const chunk of source.read(0, rows)) {
    for (const { row, origin } of chunk) expected.get(kafkajsPartition(origin, flights.partitions))?.push(row);
  }
  source.close();
  return expected;
}

/** Fails unless `records` are the source's rows 0 to `rows` - 1, each once, where its key belongs, in row order there. */
async function expectEachRowOnce(records: readonly Read[], rows: number): Promise<void> {
  const held = new Map<number, number[]>([0, 1, 2, 3].map((partition) => [partition, []]));
  for (const { partition, key, value } of records) {
    const flight = readTail(Buffer.from(value ?? ""));
    if (flight === undefined || flight.origin !== key) expect.fail(`key ${key} with value ${value}`);
    else held.get(partition)?.push(flight.row);
  }
  const expected = await expectedRows(rows);
  for (const [partition, list] of expected) expect(held.get(partition)).toEqual(list);
  expect(records.length).toBe(rows);
}

/** Sends the numbers from 0 in `calls` calls that overlap in pairs, keyed so that they spread; how many were acknowledged. */
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

describe("orders", () => {
  test("are a function of seed and index alone", () => {
    const indexes = [0, 1, 2, 77, 2 ** 32, 2 ** 32 + 1];
    const backwards = indexes.toReversed().map((index) => ordersOf(42)(index, 1));
    expect(indexes.map((index) => ordersOf(42)(index, 1))).toEqual(backwards.toReversed());
    expect(ordersOf(43)(0, 1).amount_cents).not.toBe(ordersOf(42)(0, 1).amount_cents);
    expect(ordersOf(42)(2 ** 32, 1)).not.toMatchObject({ buyer_id: ordersOf(42)(0, 1).buyer_id });
  });

  test("keep the contract, have ids of their own and look like a shop's", () => {
    const orders = [seed, seed + 1].flatMap((run) =>
      Array.from({ length: 20_000 }, (_, i) => ordersOf(run)(i, 1_767_225_600_000)),
    );
    for (const order of orders) orderCompleted.contract.parse(order);
    expect(new Set(orders.map(({ event_id }) => event_id)).size).toBe(orders.length);
    expect(new Set(orders.map(({ order_id }) => order_id)).size).toBe(orders.length);
    const shareOf = (test: (order: OrderCompletedV1) => boolean) => orders.filter(test).length / orders.length;
    expect(shareOf(({ region }) => region === "eu")).toBeCloseTo(0.44, 1);
    expect(shareOf(({ category }) => category === "books")).toBeCloseTo(0.26, 1);
    expect(shareOf(({ test_order }) => test_order)).toBeGreaterThan(0);
    expect(shareOf(({ test_order }) => test_order)).toBeLessThan(0.01);
    expect(new Set(orders.map(({ buyer_id }) => buyer_id)).size).toBeLessThan(orders.length * 0.75);
  });
});

describe("the shop", () => {
  const noon = Date.parse("2026-03-02T12:00:00Z");
  const options: ShopOptions = { seed, rate: 1, fromMs: noon, bursts: false };
  const eventsOf = (changed: Partial<ShopOptions>, orders: number): ShopEvent[] => [
    ...ordersUpTo(orders, shopEvents({ ...options, ...changed }), () => {}),
  ];
  const tidy = { duplicates: 0, late: 0, malformed: 0, avro: 0 };

  test("is a function of its seed, in the order of event time, and every event keeps its contract", () => {
    const events = eventsOf({}, 1_000);
    expect(eventsOf({}, 1_000)).toEqual(events);
    expect(eventsOf({ seed: seed + 1 }, 1)[0]).not.toEqual(events[0]);
    expect(new Set(events.map(({ stream }) => stream))).toEqual(new Set(shopStreams));
    const ids = new Set(events.map(({ stream, event }) => `${stream.name} ${event[stream.eventId]}`));
    expect(ids.size).toBe(events.length);
    let before = noon;
    for (const { stream, version, timeMs, event } of events) {
      stream.versions.find((one) => one.version === version)?.contract.parse(event);
      if (timeMs < before) expect.fail(`${timeMs} comes after ${before}`);
      before = timeMs;
    }
    const versions = events.filter(({ stream }) => stream === orderCompleted).map(({ version }) => version);
    expect(new Set(versions)).toEqual(new Set([1, 2]));
  });

  test("lets each order live its life in order, to one end", () => {
    const steps = new Map<unknown, string[]>();
    const events = eventsOf({}, 1_500).filter(({ event }) => "order_id" in event);
    for (const { stream, event } of events) {
      const life = steps.get(event.order_id) ?? [];
      steps.set(event.order_id, [...life, `${stream.name}${event.outcome === "declined" ? " declined" : ""}`]);
    }
    const whole = [...steps.values()].filter(([first]) => first === "order-created").map((life) => life.join(" > "));
    const [created, reserved, paid] = ["order-created", "order-created > inventory-reserved", "payment-processed"];
    const completed = `${reserved} > ${paid} > order-completed`;
    const possible = [
      ...[created, reserved, `${reserved} > ${paid}`, completed, `${created} > order-cancelled`],
      ...[`${reserved} > order-cancelled`, `${reserved} > ${paid} > order-cancelled`],
      ...[`${reserved} > ${paid} declined`, `${reserved} > ${paid} declined > ${paid}`],
      ...[
        `${reserved} > ${paid} declined > order-cancelled`,
        `${reserved} > ${paid} declined > ${paid} > order-completed`,
      ],
      `${reserved} > ${paid} declined > ${paid} > order-cancelled`,
    ];
    for (const life of whole) expect(possible).toContain(life);
    expect(whole.filter((life) => life === completed).length).toBeGreaterThan(whole.length * 0.6);
  });

  test("sells as much as it is told, most in the evening of its customers, and ten times as much in a burst", () => {
    const dayMs = 86_400_000;
    const orders: number[] = [];
    const regions = new Map<string, number[]>();
    for (const { stream, timeMs, event } of shopEvents({ ...options, rate: 0.2, fromMs: noon })) {
      if (timeMs >= noon + dayMs) break;
      if (stream.name !== "order-created") continue;
      orders.push(timeMs);
      const hours = regions.get(String(event.region)) ?? Array.from({ length: 24 }, () => 0);
      const hour = new Date(timeMs).getUTCHours();
      hours[hour] = (hours[hour] ?? 0) + 1;
      regions.set(String(event.region), hours);
    }
    expect(orders.length).toBeGreaterThan(0.9 * 0.2 * 86_400);
    expect(orders.length).toBeLessThan(1.1 * 0.2 * 86_400);
    const at = (region: string, hour: number) => regions.get(region)?.[hour] ?? 0;
    expect(at("eu", 19)).toBeGreaterThan(3 * at("eu", 2)); // 20:00 and 3:00 in Berlin
    expect(at("us", 0)).toBeGreaterThan(3 * at("us", 8)); // 19:00 and 3:00 in New York
    const bursts = eventsOf({ bursts: true, rate: 2 }, 1_000).filter(({ stream }) => stream.name === "user-activity");
    const within = bursts.filter(({ timeMs }) => timeMs % 300_000 < 60_000).length;
    expect(within).toBeGreaterThan(bursts.length * 0.33); // a fifth without bursts
  });

  test("delivers as untidily as it is told, the same for the same seed", () => {
    const disorder = { duplicates: 0.02, late: 0.05, malformed: 0.01, avro: 0 };
    const events = eventsOf({}, 800);
    const deliveries = [...delivered(events, seed, disorder)];
    const text = ({ value }: Delivery) => String(value);
    expect([...delivered(events, seed, disorder)].map(text)).toEqual(deliveries.map(text));
    const sent = new Set(events.map(({ event }) => JSON.stringify(event)));
    const good = deliveries.filter((one) => sent.has(text(one)));
    expect(new Set(good.map(text))).toEqual(sent);
    const share = (count: number) => count / events.length;
    expect(share(deliveries.length - good.length)).toBeCloseTo(0.01, 2);
    expect(share(good.length - sent.size)).toBeCloseTo(0.02, 2);
    let newest = 0;
    let late = 0;
    for (const { stream, value } of good) {
      const time = Number((JSON.parse(String(value)) as Record<string, unknown>)[stream.eventTime]);
      late += newest - time >= 10_000 ? 1 : 0;
      newest = Math.max(newest, time);
    }
    expect(share(late)).toBeGreaterThan(0.03);
    expect(share(late)).toBeLessThan(0.07);
    expect([...delivered(events, seed, tidy)].map(text)).toEqual(events.map(({ event }) => JSON.stringify(event)));
  });
});

describe("the producer", () => {
  test("chooses the partition that kafkajs chooses", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 50 }), (key, partitions) => {
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

describe("simulate", () => {
  test("sends its seed's orders, each keyed into the partition that kafkajs would choose", async () => {
    const namespace = freshNamespace();
    const began = Date.now();
    const result = await simulateOrders({ brokers, namespace, seed, rate: 20_000, count: 5_000, stop: never });
    expect(result).toMatchObject({ sent: 5_000, acknowledged: 5_000 });
    const topic = topicName(namespace, orderCompleted.name);
    const read = await readAll(topic);
    const order = ordersOf(seed);
    const sent = read.map(({ partition, key, value, timestamp }) => {
      const event = JSON.parse(value ?? "") as OrderCompletedV1;
      orderCompleted.contract.parse(event);
      expect(key).toBe(event.order_id);
      expect(partition).toBe(kafkajsPartition(event.order_id, orderCompleted.partitions));
      expect(event.completed_at).toBeLessThanOrEqual(timestamp);
      expect(event.completed_at).toBeGreaterThanOrEqual(began);
      return event;
    });
    const index = ({ event_id }: OrderCompletedV1) => Number.parseInt(event_id.split("-")[2] ?? "", 36);
    sent.sort((a, b) => index(a) - index(b));
    expect(sent).toEqual(sent.map(({ completed_at }, i) => order(i, completed_at)));
    expect(sent.length).toBe(5_000);
  });

  test("stops on Ctrl+C with what it sent acknowledged and reported, and ends with 130", async () => {
    const namespace = freshNamespace();
    const { child, ended } = startTideline(namespace, "simulate", "orders", "--rate", "5000", "--json");
    const topic = topicName(namespace, orderCompleted.name);
    await until(async () => total(await heights(topic)) > 0);
    child.kill("SIGINT");
    const { code, out } = await ended;
    expect(code).toBe(130);
    const { sent, acknowledged } = JSON.parse(out) as { sent: number; acknowledged: number };
    expect(acknowledged).toBe(sent);
    expect(total(await heights(topic))).toBe(sent);
  });
});

describe("send", () => {
  test("sends what a pipe has given while the pipe stays open, row by row, in every form of text", async () => {
    const order = ordersOf(seed);
    const rows = Array.from(
      { length: 3 },
      (_, index) => order(index, Date.now()) as unknown as Record<string, unknown>,
    );
    const names = Object.keys(rows[0] ?? {}).filter((name) => rows.every((row) => !Array.isArray(row[name])));
    const lists = Object.keys(rows[0] ?? {}).filter((name) => !names.includes(name));
    const quoted = (value: unknown) => `"${String(value).replaceAll('"', '""')}"`;
    const cells = (row: Record<string, unknown>) =>
      [...names.map((name) => row[name]), ...lists.map((name) => JSON.stringify(row[name]))].map(quoted).join();
    for (const [head, text] of [
      [`${[...names, ...lists].join()}\n`, (row: Record<string, unknown>) => `${cells(row)}\n`],
      ["", (row: Record<string, unknown>) => `${JSON.stringify(row)}\n`],
      ["", (row: Record<string, unknown>) => `${JSON.stringify(row, null, 2)}\n`],
    ] as const) {
      const namespace = freshNamespace();
      const { child, ended } = startTideline(namespace, "send", orderCompleted.name, "--json");
      const topic = topicName(namespace, orderCompleted.name);
      child.stdin.write(head);
      for (const [index, row] of rows.entries()) {
        child.stdin.write(text(row));
        await until(async () => total(await heights(topic)) === index + 1);
      }
      child.stdin.end();
      expect(JSON.parse((await ended).out)).toMatchObject({ rows: 3, invalid: 0, sent: 3 });
      const ids = (await readAll(topic)).map(({ value }) => (JSON.parse(value ?? "") as OrderCompletedV1).event_id);
      expect(ids.sort()).toEqual(rows.map(({ event_id }) => event_id).sort());
    }
  });
});

describe("replay", () => {
  test("killed again and again, and resumed, sends each row exactly once; a second replay sends nothing", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    const rows = 20_000;
    const command = ["replay", "flights", "--limit", `${rows}`, "--json"];
    let before = 0;
    for (let kill = 0; kill < 3; kill++) {
      // The first 20,000 flights left within 29 hours: about four seconds at this speed, time enough to kill it on the way.
      const { child, ended } = startTideline(namespace, ...command, "--speed", "25000");
      await until(async () => total(await heights(topic)) > before + 1_500);
      child.kill("SIGKILL");
      expect((await ended).signal).toBe("SIGKILL");
      before = total(await heights(topic));
      expect(before).toBeLessThan(rows);
    }
    const last = await startTideline(namespace, ...command).ended;
    const { skipped, ...counts } = JSON.parse(last.out) as { skipped: number };
    expect(skipped).toBeGreaterThanOrEqual(before);
    expect(counts).toMatchObject({ total: rows, row: rows, sent: rows - skipped, acknowledged: rows - skipped });
    await expectEachRowOnce(await readAll(topic), rows);
    const second = await startTideline(namespace, ...command).ended;
    expect(JSON.parse(second.out)).toMatchObject({ row: rows, skipped: rows, sent: 0 });
    expect(total(await heights(topic))).toBe(rows);
  });

  test("killed at full speed, in the middle of batches, and resumed, sends each row exactly once", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    const rows = nightly ? 600_000 : 300_000;
    const command = ["replay", "flights", "--limit", `${rows}`, "--json"];
    for (const share of [0.05, 0.3]) {
      const { child, ended } = startTideline(namespace, ...command);
      await until(async () => total(await heights(topic)) > share * rows);
      child.kill("SIGKILL");
      expect((await ended).signal).toBe("SIGKILL");
    }
    const last = await startTideline(namespace, ...command).ended;
    expect(JSON.parse(last.out)).toMatchObject({ row: rows });
    await expectEachRowOnce(await readAll(topic), rows);
  });

  test("resumes after partitions were acknowledged unevenly, and behind records that are not its own", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    await ensureTopics(brokers, [{ name: topic, partitions: flights.partitions }]);
    const reached = [700, -1, 2_500, 40]; // partition -> the last row that may be in it
    const source = await openFlights(flightsFile());
    const prefix: EventRecord[] = [];
    for await (const chunk of source.read(0, 3_000)) {
      for (const { row, origin: key, json: value } of chunk) {
        const partition = kafkajsPartition(key, flights.partitions);
        if (row <= (reached[partition] ?? -1)) prefix.push({ key, value });
      }
    }
    source.close();
    const producer = await openProducer({ brokers });
    await producer.send(topic, prefix);
    const strange = ["", "not JSON", "{}", '{"row":"7"}'].map((value) => ({ key: "?", value, partition: 2 }));
    await producer.send(topic, strange);
    await producer.close();
    const result = await replayFlights({ brokers, namespace, speed: "max", limit: 3_000, again: false, stop: never });
    expect(result).toMatchObject({ row: 3_000, skipped: prefix.length, sent: 3_000 - prefix.length });
    await expectEachRowOnce(
      (await readAll(topic)).filter(({ key }) => key !== "?"),
      3_000,
    );
    const again = await replayFlights({ brokers, namespace, speed: "max", limit: 3_000, again: true, stop: never });
    expect(again).toMatchObject({ skipped: 0, sent: 3_000, acknowledged: 3_000 });
  });

  test("sends no row for the second time after replays that started over and did not come as far", async () => {
    const namespace = freshNamespace();
    const topic = topicName(namespace, flights.name);
    const replay = (limit: number, again = false) =>
      replayFlights({ brokers, namespace, speed: "max", limit, again, stop: never });
    await replay(3_000);
    expect(await replay(1_000, true)).toMatchObject({ skipped: 0, sent: 1_000 });
    expect(await replay(3_000)).toMatchObject({ skipped: 3_000, sent: 0 });
    expect(await replay(200, true)).toMatchObject({ skipped: 0, sent: 200 });
    expect(await replay(3_500)).toMatchObject({ skipped: 3_000, sent: 500 });
    const rows = (await readAll(topic)).map(({ value }) => readTail(Buffer.from(value ?? ""))?.row ?? -1);
    const times = new Map<number, number>();
    for (const row of rows) times.set(row, (times.get(row) ?? 0) + 1);
    for (let row = 0; row < 3_500; row++) expect(times.get(row)).toBe(1 + Number(row < 1_000) + Number(row < 200));
  });

  test("forgets what a topic held that was deleted and made again", async () => {
    const namespace = freshNamespace();
    const replay = (again: boolean) =>
      replayFlights({ brokers, namespace, speed: "max", limit: 2_000, again, stop: never });
    await replay(false);
    expect(await replay(true)).toMatchObject({ sent: 2_000 });
    await admin.deleteTopics({ topics: [topicName(namespace, flights.name)] });
    expect(await replay(false)).toMatchObject({ skipped: 0, sent: 2_000 });
  });

  test("refuses to guess when a partition ends with another partition's row", () => {
    const home = partitionOf("ORD", 8);
    const tails = Array.from({ length: 8 }, (_, partition) => [partition, undefined] as const);
    expect(() => resumeAfter("flights", new Map(tails), [7, 7, 7, 7])).toThrow(TidelineError);
    const wrong = new Map([...tails, [(home + 4) % 8, { row: 12, origin: "ORD" }]]);
    expect(() => resumeAfter("flights", wrong)).toThrow(TidelineError);
    expect(resumeAfter("flights", new Map([...tails, [home, { row: 12, origin: "ORD" }]]))[home]).toBe(12);
    expect(readTail(Buffer.from('{"row":1.5}'))).toBeUndefined();
  });

  test("says how to get the data when its package is missing", () => {
    const missing = () => {
      throw new Error("Cannot find module");
    };
    expect(() => flightsFile(missing)).toThrow(expect.objectContaining({ code: "INPUT_MISSING" }));
  });
});

describe("the command line", () => {
  test("ends with 2 when it is called wrongly, and explains an error in two lines", async () => {
    const wrong = startTideline("", "replay", "flights", "--speed", "fast").ended;
    const failing = startTideline("UPPER CASE", "replay", "flights").ended;
    expect(await wrong).toMatchObject({ code: 2, err: expect.stringContaining("--speed") });
    const { code, err } = await failing;
    expect(code).toBe(1);
    expect(err).toMatch(/^error CONFIG_INVALID: .*TIDELINE_NAMESPACE.*\nwhat to do: .*\n$/);
  });

  test("lists every wrong setting at once, and lets addresses follow the ports", () => {
    const wrong = { TIDELINE_API_PORT: "0", REDIS_URL: "http://x", TIDELINE_LOG_LEVEL: "loud", KAFKA_BROKERS: "a:1,b" };
    for (const variable of Object.keys(wrong)) expect(() => loadConfig(wrong)).toThrow(variable);
    const config = loadConfig({ TIDELINE_KAFKA_PORT: "9999", KAFKA_BROKERS: "" });
    expect(config).toMatchObject({ kafkaBrokers: "127.0.0.1:9999", apiUrl: "http://127.0.0.1:7070", namespace: "" });
    expect(Object.keys(config).sort()).toEqual(Object.keys(settings).sort());
  });
});
