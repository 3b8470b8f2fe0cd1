import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { CompressionTypes, ConfigResourceTypes, Kafka, logLevel, type Message } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { readable } from "../../cli/dead-letters/bytes.ts";
import { printable } from "../../cli/terminal/printable.ts";
import { AvroSchema } from "../../core/codec/avro/avro.ts";
import { generationOf } from "../../core/definition/generation.ts";
import type { View } from "../../core/definition/view.ts";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { deadLetterTopic } from "../../store/kafka/cluster/topics.ts";
import { FileRegistry } from "../../store/registry/registry-files.ts";
import { prepareStreams } from "../../store/registry/registry-prepare.ts";
import { avroCorpus, type Bad, generated, good, jsonCorpus } from "../bad-input/corpus.ts";
import { judge, models } from "../bad-input/judge.ts";
import { readings, samples } from "../bad-input/schemas/readings.ts";
import { ofLines, ofReadings, ofSamples } from "../bad-input/views/readings.ts";
import { expectRows, positionOf, reaches } from "../fixtures/oracles/exact.ts";
import { type LogRecord, readLog } from "../fixtures/oracles/log-oracle.ts";
import { countedEvents, expectedRows, type Model, type OracleLedger } from "../fixtures/oracles/oracle.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

/**
 * Invariant 12: whatever producers send, among good events in two streams, is counted, answered and refused exactly as
 * a plain reading of the same log says; nothing waits behind it, and memory stays bounded.
 */

const brokers = inject("kafkaBrokers");
const SEED = Number(process.env.TIDELINE_TEST_SEED ?? Date.now() % 1_000_000);
const SLOW_MS = 300_000;
/** The most that the speed layer may hold while a batch passes that stands for 140 MB, and others of 20 MB. */
const RSS_LIMIT_MB = 1_200;
const EVERYTHING = { from: "2019-12-31", to: "2100-01-02", limit: "100000" };
const definitions = (what: string) => fileURLToPath(new URL(`../bad-input/${what}`, import.meta.url));

const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING });
const producer = kafka.producer();
let tideline: Installation;
let redis: Redis;
let speed: ProcessHandle;
let decode: ReturnType<typeof judge>;
let logs: Readonly<Record<"readings" | "samples", ReadonlyMap<number, readonly LogRecord[]>>>;
/** What the corpus says of a record, by where it lies. */
const sent = new Map<string, Bad>();

beforeAll(async () => {
  console.log(`bad input: seed ${SEED}`);
  redis = new Redis(inject("redisUrl"));
  tideline = await Installation.open("bad-input", {
    TIDELINE_SCHEMAS: definitions("schemas"),
    TIDELINE_VIEWS: definitions("views"),
  });
  await producer.connect();
  // The letters of one stream are as large as its records; those of the other have the limit that Kafka has by default.
  await limitLetters(readings.name, 12 * 1024 * 1024);
  await limitLetters(samples.name, 1024 * 1024);
  const registry = new FileRegistry(new DataDirectory(join(tideline.home, "data")));
  await prepareStreams(registry, [readings, samples], (name) => tideline.topic(name));
  const [registered] = await registry.versions(`${tideline.topic(samples.name)}-value`);
  if (registered === undefined) throw new Error("not registered");
  decode = judge(new Map([[registered.id, registered.schema]]));
  [speed] = await Promise.all([
    tideline.start("speed"),
    tideline.start("serve"),
    sendAll(new AvroSchema(registered.schema), registered.id),
  ]);
  logs = {
    readings: await readLog(brokers, tideline.topic(readings.name)),
    samples: await readLog(brokers, tideline.topic(samples.name)),
  };
});

afterAll(async () => {
  await tideline?.close();
  await producer.disconnect();
  redis?.disconnect();
});

async function limitLetters(stream: string, bytes: number): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  const configEntries = [{ name: "max.message.bytes", value: String(bytes) }];
  const name = deadLetterTopic(tideline.topic(stream));
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries }],
  });
  await admin.disconnect();
}

async function send(stream: string, partition: number, messages: Message[], compression = CompressionTypes.None) {
  const topic = tideline.topic(stream);
  const [answer] = await producer.send({
    topic,
    compression,
    messages: messages.map((one) => ({ ...one, partition })),
  });
  return { topic, first: BigInt(answer?.baseOffset ?? -1) };
}

/** Sends a corpus to all partitions in turn, good events behind each bad one. */
async function sendCorpus(stream: string, corpus: readonly Bad[], goodValue: (index: number) => Buffer): Promise<void> {
  for (const partition of [0, 1, 2]) {
    const mine = corpus.filter((_, index) => index % 3 === partition);
    for (let rest = mine; rest.length > 0; ) {
      const batch = rest.splice(0, Math.max(1, batchEnd(rest)));
      const messages = batch.flatMap(({ what, value, key = Buffer.from(what), headers = {} }, index) => {
        const behind = { key: null, value: goodValue(index) };
        return [{ key, value, headers }, behind, behind];
      });
      const { topic, first } = await send(stream, partition, messages);
      for (const [index, bad] of batch.entries()) sent.set(`${topic}:${partition}:${first + BigInt(index * 3)}`, bad);
    }
  }
}

/** How many of the records make a batch of some megabytes. */
function batchEnd(records: readonly Bad[]): number {
  let sizeBytes = 0;
  const end = records.findIndex(({ value, key }) => {
    sizeBytes += (value?.length ?? 0) + (key?.length ?? 0);
    return sizeBytes > 3_000_000;
  });
  return end < 0 ? records.length : end;
}

async function sendAll(schema: AvroSchema, id: number): Promise<void> {
  const json = (index: number) => Buffer.from(JSON.stringify(good(index)));
  const avro = (index: number) => schema.encode(id, good(index));
  await sendCorpus(readings.name, jsonCorpus(), json);
  await sendCorpus(samples.name, avroCorpus(schema, id, 4_711), avro);
  const spoilt = generated(SEED, 1_200, (event) => schema.encode(id, event));
  for (const [partition, stream] of [readings, samples, readings].entries())
    await send(
      stream.name,
      partition,
      spoilt.filter((_, index) => index % 3 === partition).map((value) => ({ key: null, value })),
    );
  await sendBombs(json);
}

/** Batches of a few kilobytes that stand for many megabytes. */
async function sendBombs(json: (index: number) => Buffer): Promise<void> {
  const long = (bytes: number) => Buffer.from(JSON.stringify({ ...good(0), note: "x".repeat(bytes) }));
  const [huge, large] = [long(20_000_000), long(1_000_000)];
  const bomb = (partition: number, values: Buffer[]) =>
    send(
      readings.name,
      partition,
      values.map((value) => ({ key: null, value })),
      CompressionTypes.GZIP,
    );
  await bomb(
    0,
    Array.from({ length: 7 }, () => huge),
  );
  await bomb(
    1,
    Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? large : json(index))),
  );
  await bomb(2, [json(3), huge, json(4)]);
  await bomb(
    2,
    Array.from({ length: 3_000 }, () => json(5)),
  );
  for (const partition of [0, 1, 2])
    await send(readings.name, partition, [{ key: null, value: json(900 + partition) }]);
}

/** Asks until the answer stands at the end of the log; is it then what the plain fold says? */
async function expectExact(view: View, model: Model<never, never>, log: ReadonlyMap<number, readonly LogRecord[]>) {
  const ask = () => tideline.ask(view.name, EVERYTHING);
  const answer = await until(`${view.name} reaches the log's end`, ask, (one) => reaches(one, log), SLOW_MS);
  await expectRows(answer, expectedRows(model, log, positionOf(answer)), Object.keys(view.by), redis);
  expect(answer.rows.length).toBeGreaterThan(0);
  return answer;
}

/** The ledger that the speed layer keeps beside its segments. */
async function speedLedger(view: View): Promise<OracleLedger> {
  const keys = await redis.keys(`tl:{${tideline.namespace}/${generationOf(view)}}:s:*:ledger`);
  const ledger: OracleLedger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };
  for (const key of keys)
    for (const [field, count] of Object.entries(await redis.hgetall(key)))
      ledger[(field.split(":")[1] ?? "") as keyof OracleLedger] += Number(count);
  return ledger;
}

async function batchLedger(view: View) {
  const newest = await new Manifests(new DataDirectory(join(tideline.home, "data"))).newest(generationOf(view));
  return newest?.ledger;
}

const endOf = (log: ReadonlyMap<number, readonly LogRecord[]>) =>
  new Map([...log].map(([partition, records]) => [partition, (records.at(-1)?.offset ?? -1n) + 1n]));

test("every record of both streams is counted, filtered, a duplicate or a reject, before a refresh, after it and after a rebuild", {
  timeout: SLOW_MS,
}, async () => {
  const { readings: model, lines } = models(decode);
  const cases = [
    { view: ofReadings, model, log: logs.readings },
    { view: ofLines, model: lines, log: logs.readings },
    { view: ofSamples, model, log: logs.samples },
  ] as unknown as { view: View; model: Model<never, never>; log: (typeof logs)["readings"] }[];
  for (const { view, model, log } of cases) {
    await expectExact(view, model, log);
    const { ledger } = countedEvents(model, log, endOf(log));
    expect(ledger.rejects).toBeGreaterThan(20);
    expect(ledger.counted + ledger.filtered + ledger.duplicates + ledger.rejects).toBe(ledger.records);
    expect(await speedLedger(view)).toEqual(ledger);
  }
  expect(await peakMb(speed)).toBeLessThan(RSS_LIMIT_MB);
  // Not before: its schedules would refresh, after which the segments' ledgers cover less than the log.
  await tideline.start("worker");
  await tideline.refresh(...cases.map(({ view }) => view.name));
  for (const { view, model, log } of cases) {
    const { batchVersion } = await expectExact(view, model, log);
    expect(batchVersion).toBeGreaterThan(0);
    expect(await batchLedger(view)).toEqual(countedEvents(model, log, endOf(log)).ledger);
  }
  const { stdout } = await tideline.run("rebuild", ofReadings.name, "--json");
  expect(JSON.parse(stdout)).toMatchObject({ equal: true });
  await expectExact(ofReadings, model as never, logs.readings);
});

/** The most memory that a process has had so far. */
async function peakMb({ pid }: ProcessHandle): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
}

test("every reject is a dead letter under its position, with its reason and its bytes; what is too large for one says so", {
  timeout: SLOW_MS,
}, async () => {
  for (const stream of ["readings", "samples"] as const) {
    const topic = tideline.topic(stream);
    const rejected = new Map<string, LogRecord>(
      [...logs[stream]].flatMap(([partition, records]) =>
        records
          .filter(({ value }) => decode(value) === null)
          .map((record) => [`${topic}:${partition}:${record.offset}`, record] as const),
      ),
    );
    const letters = (await readLog(brokers, deadLetterTopic(topic))).get(0) ?? [];
    expect(new Set(letters.map(({ key }) => String(key)))).toEqual(new Set(rejected.keys()));
    for (const { key, value, headers } of letters) {
      const id = String(key);
      const [bad, record] = [sent.get(id), rejected.get(id)];
      const reason = String(headers.reason);
      if (bad !== undefined) expect(`${bad.what}: ${reason.split(":")[0]}`).toBe(`${bad.what}: ${bad.reject}`);
      const isBare = headers["original-bytes"] !== undefined;
      expect(isBare).toBe(
        reason.startsWith("too-large") || (stream === "samples" && (record?.value?.length ?? 0) > 1_000_000),
      );
      if (isBare)
        expect([value, reason.startsWith("too-large") ? "" : String(record?.value?.length)]).toEqual([
          null,
          String(headers["original-bytes"]),
        ]);
      else
        expect(
          sameBytes(value, record?.value ?? null) &&
            sameBytes((headers["original-key"] as Buffer | undefined) ?? null, record?.key ?? null),
        ).toBe(true);
    }
  }
  const reasons = [...sent.values()].filter(({ reject }) => reject !== null);
  expect(reasons.length).toBeGreaterThan(100);
});

/** Not with `toEqual`: these may have megabytes. */
const sameBytes = (a: Buffer | null, b: Buffer | null) => (a === null || b === null ? a === b : a.equals(b));

test("the command shows dead letters without a control character", { timeout: SLOW_MS }, async () => {
  const idOf = (stream: string, what: string) => {
    const topic = tideline.topic(stream);
    const [id] = [...sent].find(([key, bad]) => key.startsWith(`${topic}:`) && bad.what === what) ?? [];
    if (id === undefined) throw new Error(`${what} was not sent`);
    return id.slice(tideline.namespace.length + 1);
  };
  const shown = await Promise.all([
    tideline.run("dead-letters", "list", readings.name, "--limit", "2000"),
    tideline.run("dead-letters", "show", idOf(readings.name, "a reject with a key of 64 KB")),
    tideline.run("dead-letters", "show", idOf(samples.name, "5 MB of note")),
  ]);
  for (const { stdout } of shown) expect(CONTROL.exec(stdout)).toBe(null);
  const [list, key, bare] = shown.map(({ stdout }) => stdout);
  expect(list).toContain("too-large: its batch has more than");
  expect(key).toContain("1b 1b 1b");
  expect(bare).toMatch(/original, 52\d+ bytes, too many for a dead letter/);
  for (const { value } of sent.values()) {
    expect(CONTROL.exec(readable(value))).toBe(null);
    expect(readable(value).length).toBeLessThan(70_000);
  }
  expect(readable(Buffer.from("\x1b[2J\x07"))).toContain("1b 5b 32 4a 07");
  expect(printable("a\x1b[31m\u009b\u202e")).toBe("a\\u001b[31m\\u009b\\u202e");
});

/** Anything that could move a cursor or recolour a terminal. */
const CONTROL = /[^\P{C}\n\t]/u;
