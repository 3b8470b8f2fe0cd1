import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { Kafka, logLevel } from "kafkajs";
import { pino } from "pino";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { loadConfig } from "../../cli/setup/config.ts";
import { recordLines } from "../../cli/tail/lines.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { type RunningServing, startServing } from "../../serving/main.ts";
import { type Definitions, loadDefinitions } from "../../store/definitions/definitions.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { followTopic } from "../../store/records/follow.ts";
import { type LogStart, parseLogStart, spanFrom } from "../../store/records/log-start.ts";
import { type RecordJson, recordJson } from "../../store/records/record-json.ts";
import { openRecordReader, type ReadRecord } from "../../store/records/record-reader.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { poolForTests } from "../fixtures/oracles/duck.ts";
import { Installation } from "../fixtures/servers/installation.ts";

/** `tideline tail` and GET /streams/:name/records over records that nobody would write on purpose. */

const brokers = inject("kafkaBrokers");
const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING });
const unique = randomUUID().slice(0, 8);
const topic = `Tail.Orders_${unique}`;
const plain = `Tail.Other_${unique}`;
const folder = join(process.cwd(), ".tideline", `tail-${unique}`);

const file = `
import { count, decimal, instant, integer, list, optional, stream, text, view } from "tideline";
export const orders = stream("orders", {
  topic: "${topic}", revision: 1, partitions: 3, dedupWindow: 10,
  key: "order_id", eventId: "order_id", eventTime: "at",
  fields: {
    order_id: text(), at: instant({ as: "iso" }), note: optional(text()),
    amount: decimal({ scale: 2, min: 0, max: 1000 }),
    items: list({ sku: text(), quantity: integer({ min: 1, max: 9 }) }),
  },
});
export const hourly = view("hourly", { stream: orders, every: "1 hour", measures: { orders: count() } });
`;

const HOSTILE = "\u001b[31mred\u0007\u202e\u0000 \"'\\ 𝒳\ufeff\n";
const order = (id: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({
    order_id: id,
    at: "2026-03-01T08:00:00Z",
    amount: 12.34,
    items: [{ sku: id, quantity: 2 }],
    ...more,
  });

interface Sent {
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly headers?: Record<string, string | Buffer>;
}

/** By partition. The timestamps go up by a second across the partitions, in the order of this list. */
const sent: readonly (Sent & { readonly partition: number })[] = [
  { partition: 0, key: "a", value: order("a"), headers: { trace: "1", raw: Buffer.from([0xff, 0x00]) } },
  { partition: 1, key: HOSTILE, value: order(HOSTILE, { note: HOSTILE }) },
  { partition: 0, key: Buffer.from([0xff, 0xfe]), value: Buffer.from([0xff, 0xfe, 0x1b]) },
  { partition: 2, key: null, value: null },
  { partition: 1, key: "b", value: order("b", { amount: -1 }) },
  { partition: 0, key: "c", value: `{"order_id": "${"\\u001b"}` },
  { partition: 1, key: "d", value: order("d", { amount: 999.99 }) },
  { partition: 0, key: "e", value: Buffer.from([0, 0, 0, 0, 7, 1, 2]) },
];
const FIRST_MS = Date.parse("2026-03-01T09:00:00Z");

let tideline: Installation;
let definitions: Definitions;
const pool = poolForTests();
const log = new LogReader({ brokers, clientId: "tail-test" });
const data = () => new DataDirectory(join(tideline.home, "data"));
const orders = () => definitions.streams.get("orders") as Stream;
const servers: RunningServing[] = [];

async function send(
  name: string,
  messages: readonly (Sent & { readonly partition?: number; readonly timestamp?: string })[],
) {
  const producer = kafka.producer();
  await producer.connect();
  for (const { headers, ...message } of messages)
    await producer.send({
      topic: name,
      acks: -1,
      messages: [{ ...message, ...(headers === undefined ? {} : { headers }) }],
    });
  await producer.disconnect();
}

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "orders.ts"), file);
  await ensureTopics(
    brokers,
    [topic, plain].map((name) => ({ name, partitions: 3 })),
  );
  await send(
    topic,
    sent.map((one, index) => ({ ...one, timestamp: String(FIRST_MS + index * 1_000) })),
  );
  await send(plain, [
    { partition: 0, key: "k", value: HOSTILE, timestamp: String(FIRST_MS) },
    { partition: 1, key: null, value: Buffer.from([0xff]), timestamp: String(FIRST_MS + 1_000) },
  ]);
  tideline = await Installation.open("tail", { TIDELINE_SCHEMAS: folder, TIDELINE_VIEWS: folder });
  definitions = await loadDefinitions(loadConfig(tideline.env));
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await log.close();
  await tideline?.close();
  await rm(folder, { recursive: true });
});

async function tail(...args: string[]): Promise<RecordJson[]> {
  const { stdout } = await tideline.run("tail", ...args, "--format", "json");
  return stdout.split("\n").map((line) => JSON.parse(line) as RecordJson);
}

/** What the command prints, without a process: every record from a start to the end of the log. */
async function read(name: string, start: LogStart, where: string | null = null): Promise<ReadRecord[]> {
  const duck = await pool().connect();
  try {
    const schemas = Schemas.withoutTrace(data(), openRegistry(data(), null));
    const reader = await openRecordReader(duck, name === topic ? orders() : null, schemas, where);
    const span = await spanFrom(log, name, start);
    const records: ReadRecord[] = [];
    const stop = new AbortController().signal;
    for await (const batch of followTopic(log, name, span, { stop, follow: false }))
      records.push(...(await reader.read(batch)));
    return records;
  } finally {
    duck.closeSync();
  }
}

const words = (records: readonly RecordJson[]) =>
  records
    .map(({ position, verdict }) => [position, verdict?.accepted === false ? verdict.code : "accepted"] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));

const bytes = (value: string | Buffer | null) =>
  typeof value === "string" || value === null ? value : { base64: value.toString("base64") };

test("every record comes with its position, time, key, headers, verdict, fields and original", async () => {
  const records = await tail("orders", "--from-beginning", "--no-follow");
  expect(words(records)).toEqual([
    ["0:0", "accepted"],
    ["0:1", "not-utf8"],
    ["0:2", "not-json"],
    ["0:3", "schema-unknown"],
    ["1:0", "accepted"],
    ["1:1", "contract"],
    ["1:2", "accepted"],
    ["2:0", "empty"],
  ]);
  const counters = new Map<number, number>();
  for (const [index, { partition, key, value, headers = {} }] of sent.entries()) {
    const offset = counters.get(partition) ?? 0;
    counters.set(partition, offset + 1);
    const position = `${partition}:${offset}`;
    expect(records.find((one) => one.position === position)).toMatchObject({
      time: new Date(FIRST_MS + index * 1_000).toISOString(),
      key: bytes(key),
      original: bytes(value),
      headers: Object.entries(headers).map(([name, one]) => ({ name, value: bytes(one) })),
    });
  }
  const [first] = records.filter(({ position }) => position === "0:0");
  expect(first?.fields).toEqual({
    ...{ order_id: "a", at: Date.parse("2026-03-01T08:00:00Z"), amount: 1234, note: null },
    items: [{ sku: "a", quantity: 2 }],
  });
  const [refused] = records.filter(({ position }) => position === "1:1");
  expect(refused?.fields).toBeNull();
  expect(refused?.verdict).toMatchObject({ accepted: false, reason: expect.stringMatching(/^contract: amount: /) });
});

test("it begins with the newest records, at a time, or at positions", async () => {
  const places = async (start: LogStart) => words((await read(topic, start)).map(recordJson)).map(([place]) => place);
  const at = (text: string) => parseLogStart(text, Date.now()) ?? { kind: "beginning" as const };
  expect(await places({ kind: "last", records: 3 })).toEqual(["0:2", "0:3", "1:2"]);
  expect(await places({ kind: "last", records: 0 })).toEqual([]);
  expect(await places({ kind: "last", records: 99 })).toHaveLength(sent.length);
  expect(await places(at(new Date(FIRST_MS + 4_000).toISOString()))).toEqual(["0:2", "0:3", "1:1", "1:2"]);
  expect(await places(at("2:0,0:3"))).toEqual(["0:3", "2:0"]);
  expect(await places(at("1:3"))).toEqual([]);
  await expect(places(at("1:99"))).rejects.toThrow("partition 1 has no offset 99: its log goes from 0 to 3");
  await expect(places(at("7:0"))).rejects.toThrow("there is no partition 7 that can be read");
  expect(["", "1:", "1:2,1:3", "-1:2", "soon", "1:2 "].map((text) => parseLogStart(text, 0))).toEqual(
    Array(6).fill(null),
  );
});

test("where is SQL over the fields, and what cannot be asked is a clear error", async () => {
  const from: LogStart = { kind: "beginning" };
  const large = await read(topic, from, "amount > 50000 OR note IS NOT NULL");
  expect(words(large.map(recordJson))).toEqual([
    ["1:0", "accepted"],
    ["1:2", "accepted"],
  ]);
  const [found, ...others] = await read(plain, from, "key = 'k'");
  expect([others, found?.original?.toString(), found?.verdict, found?.fields]).toEqual([[], HOSTILE, null, null]);
  const wrong: Readonly<Record<string, RegExp>> = {
    "amont > 1": /where: there is no column "amont" \(there are order_id, at, amount, note, items\)/,
    "true) WHERE (true": /where: not one expression/,
    "1) GROUP BY (1": /where: not one expression/,
    "read_text('/etc/passwd') = ''": /where: function "read_text" is not on the list/,
    amount: /where: is BIGINT, and has to be a condition/,
    "CAST(order_id AS BIGINT) > 1": /where fails on a record: /,
  };
  for (const [where, problem] of Object.entries(wrong))
    await expect(read(topic, from, where), where).rejects.toMatchObject({ code: "BAD_REQUEST", message: problem });
  const [asked, unknown] = await Promise.all([
    tideline.begin("tail", "orders", "--where", "amont > 1"),
    tideline.begin("tail", "ordres"),
  ]);
  expect([asked.exitCode, asked.stderr]).toEqual([
    1,
    expect.stringContaining("BAD_REQUEST: where: there is no column"),
  ]);
  expect([unknown.exitCode, unknown.stderr]).toEqual([1, expect.stringContaining("STREAM_UNKNOWN")]);
});

test("the table shows hostile bytes as escapes, and says why a record is refused", async () => {
  const records = await read(topic, { kind: "beginning" });
  const shown = records.map((record) => recordLines(record, orders())).join("");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(shown).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f\u202e]/);
  expect(shown).toMatch(
    /^0:0 +2026-03-01T09:00:00\.000Z {2}accepted {2}key "a" {2}order_id="a" {2}at=2026-03-01T08:00:00\.000Z/m,
  );
  expect(shown).toMatch(/^ {2}headers {3}trace="1" {2}raw=0xff00$/m);
  expect(shown).toMatch(/why +contract: amount: /);
  expect(shown).toContain("original  0xfffe1b");
});

test("it follows the log, and Ctrl+C ends it", async () => {
  const child = execa(process.execPath, ["cli/tideline.js", "tail", plain, "--last", "1", "--format", "json"], {
    env: tideline.env,
    reject: false,
    buffer: false,
  });
  const lines = createInterface({ input: child.stdout });
  const next = async () => JSON.parse(String((await once(lines, "line"))[0])) as RecordJson;
  expect((await next()).key).toBeNull();
  const coming = next();
  await send(plain, [{ partition: 2, key: "later", value: "x" }]);
  expect(await coming).toMatchObject({ position: "2:0", key: "later", original: "x", verdict: null });
  child.kill("SIGINT");
  expect((await child).exitCode).toBe(130);
});

async function serve(host: string): Promise<string> {
  const server = await startServing({
    redisUrl: inject("redisUrl"),
    kafkaBrokers: brokers,
    dataDir: join(tideline.home, "data"),
    namespace: tideline.namespace,
    definitions,
    port: 0,
    host,
    logger: pino({ level: "silent" }),
  });
  servers.push(server);
  return `http://127.0.0.1:${server.port}/streams/orders/records`;
}

test("the API answers pages that go on where the one before ended, and without a key only while it listens on loopback", async () => {
  const url = await serve("127.0.0.1");
  const ask = async (query: Record<string, string>) => {
    const response = await fetch(`${url}?${new URLSearchParams(query)}`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const pages: RecordJson[] = [];
  let at = "beginning";
  for (let more = true; more; ) {
    const { body } = await ask({ at, limit: "3" });
    const page = body as unknown as { records: RecordJson[]; next: string; atEnd: boolean };
    expect(page.records.length).toBeLessThanOrEqual(3);
    pages.push(...page.records);
    [at, more] = [page.next, !page.atEnd];
  }
  const positions = pages.map(({ position }) => position);
  expect(positions.toSorted()).toEqual(["0:0", "0:1", "0:2", "0:3", "1:0", "1:1", "1:2", "2:0"]);
  expect(pages.find(({ position }) => position === "1:0")?.fields).toMatchObject({ order_id: HOSTILE, note: HOSTILE });
  expect(await ask({ at })).toMatchObject({ status: 200, body: { records: [], atEnd: true } });
  expect(await ask({ where: "amount > 50000" })).toMatchObject({ body: { records: [{ position: "1:2" }] } });
  const refusals = await Promise.all([ask({ where: "x = 1" }), ask({ at: "9:9" }), ask({ limit: "0", last: "x" })]);
  expect(refusals.map(({ status }) => status)).toEqual([400, 400, 400]);
  expect(
    refusals.map(({ body }) => (body.errors as { parameter: string }[]).map(({ parameter }) => parameter)),
  ).toEqual([["where"], ["at"], ["limit", "last"]]);
  const open = await fetch(await serve("0.0.0.0"));
  expect([open.status, ((await open.json()) as { code: string }).code]).toEqual([401, "UNAUTHENTICATED"]);
});
