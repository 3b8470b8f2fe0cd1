import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { deadLetterTopic } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { produce } from "../fixtures/events/produce.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

/** Each command is a process of its own. */
const SLOW_MS = 180_000;
const STREAM = "order-completed";
const brokers = inject("kafkaBrokers");
const order = ordersOf(5);
const now = Date.now();
const valid = (index: number) => order(index, now - index);
const json = (event: unknown) => Buffer.from(JSON.stringify(event));

interface Listed {
  readonly id: string;
  readonly reason: string;
  readonly state: string;
  readonly replayedTo: string | null;
}

let tideline: Installation;
let topic: string;

beforeAll(async () => {
  tideline = await Installation.open("letters", {
    EDITOR: `sed -i -e 's/"amount_cents":-1/"amount_cents":4200/'`,
  });
  topic = tideline.topic(STREAM);
  await tideline.start("speed");
  await produce(brokers, topic, [
    ...[1, 2, 3].map((index) => ({ key: valid(index).order_id, value: json(valid(index)) })),
    { key: "negative", value: json({ ...valid(4), amount_cents: -1 }) },
    { key: "cut", value: Buffer.from('{"event_id":') },
    { key: "bytes", value: Buffer.from([0xff, 0x00, 0x41]) },
  ]);
  const log = new LogReader({ brokers, clientId: "letters-test" });
  const letters = async () => [...(await log.bounds(deadLetterTopic(topic))).stable.values()];
  await until("three letters", letters, (ends) => ends.reduce((sum, end) => sum + Number(end), 0) === 3);
  await log.close();
});

afterAll(() => tideline.close());

async function list(...flags: string[]): Promise<Listed[]> {
  return JSON.parse((await tideline.run("dead-letters", "list", STREAM, "--json", ...flags)).stdout) as Listed[];
}

async function letter(reason: string): Promise<Listed> {
  const found = (await list("--reason", reason))[0];
  if (found === undefined) throw new Error(`no letter with reason ${reason}`);
  return found;
}

/** Records of the stream that were replayed: key, letter and value. */
async function replayedRecords() {
  const log = new LogReader({ brokers, clientId: "letters-test" });
  const found: { key: string; of: string; value: string }[] = [];
  const { start, stable } = await log.bounds(topic);
  for (const [partition, to] of stable) {
    const from = start.get(partition);
    if (from === undefined) continue;
    for await (const { records } of log.read(topic, { partition, from, to }, { maxBytes: 1_000_000 })) {
      const { keys, values, headers } = records;
      for (const [index, pairs] of headers.entries()) {
        const of = pairs.find(([name]) => name?.toString() === "replay-of")?.[1];
        if (of) found.push({ key: String(keys[index]), of: String(of), value: String(values[index]) });
      }
    }
  }
  await log.close();
  return found;
}

test("a refused record is listed by its position, with its reason and its bytes", { timeout: SLOW_MS }, async () => {
  const found = await list();
  expect(found.map(({ reason }) => reason.split(":")[0]).sort()).toEqual(["contract", "not-json", "not-utf8"]);
  expect(found.every(({ id }) => /^order-completed:\d+:\d+$/.test(id))).toBe(true);
  const { stdout: text } = await tideline.run("dead-letters", "show", (await letter("contract")).id);
  expect(text).toContain("amount_cents");
  expect(text).toContain('"amount_cents":-1');
  expect(text).toMatch(/key +negative/);
  const { stdout: dump } = await tideline.run("dead-letters", "show", (await letter("not-utf8")).id);
  expect(dump).toContain("ff 00 41");
});

test("a letter that was written twice is one letter", { timeout: SLOW_MS }, async () => {
  const before = await list();
  const producer = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  const key = `${tideline.namespace}.${before[0]?.id}`;
  await producer.send({
    topic: deadLetterTopic(topic),
    messages: [{ key, value: "x", headers: { reason: "not-json" } }],
  });
  await producer.disconnect();
  expect(await list()).toEqual(before);
});

test("what the contract refuses is not accepted as an edit, and nothing unedited is replayed", {
  timeout: SLOW_MS,
}, async () => {
  const { id } = await letter("not-json");
  const file = join(tideline.home, "wrong.json");
  await writeFile(file, JSON.stringify({ ...valid(5), region: "moon" }));
  const edit = await tideline.begin("dead-letters", "edit", id, "--file", file);
  expect([edit.exitCode, edit.stderr]).toEqual([1, expect.stringMatching(/BAD_REQUEST.*region/s)]);
  const replay = await tideline.begin("dead-letters", "replay", id);
  expect([replay.exitCode, replay.stdout]).toEqual([1, expect.stringContaining("edit it first")]);
  const unknown = await tideline.begin("dead-letters", "show", "order-completed:0:999999");
  expect([unknown.exitCode, unknown.stderr]).toEqual([1, expect.stringContaining("LETTER_UNKNOWN")]);
  expect(await replayedRecords()).toEqual([]);
});

test("an edited letter is replayed once, under its key, however often and by however many", {
  timeout: SLOW_MS,
}, async () => {
  const { id } = await letter("contract");
  await tideline.run("dead-letters", "edit", id);
  expect((await letter("contract")).state).toBe("edited");
  const { stdout: dry } = await tideline.run("dead-letters", "replay", "--all", "--dry-run", "--json");
  expect(JSON.parse(dry)).toEqual([{ id, replayedTo: null }]);
  expect(await replayedRecords()).toEqual([]);

  await Promise.all([1, 2, 3].map(() => tideline.begin("dead-letters", "replay", id)));
  const again = await tideline.begin("dead-letters", "replay", id, "--json");
  expect(again.exitCode).toBe(1);
  const value = JSON.stringify({ ...valid(4), amount_cents: 4200 });
  expect(await replayedRecords()).toEqual([{ key: "negative", of: `${tideline.namespace}.${id}`, value }]);
  expect(await letter("contract")).toMatchObject({ state: "replayed", replayedTo: expect.stringMatching(/^\d:\d+$/) });

  await tideline.start("serve");
  const events = [1, 2, 3, 4].map(valid).filter(({ test_order }) => !test_order);
  const answer = await until(
    "all is counted",
    () => tideline.ask("revenue", { by: "", every: "7d", measures: "orders" }),
    ({ rows }) => rows.reduce((sum, row) => sum + Number(row.orders), 0) === events.length,
  );
  expect(answer.complete).toBe(true);
});
