import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigResourceTypes, Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { produce } from "../fixtures/events/produce.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

/** A stream over a topic that belongs to somebody else. */

const SLOW_MS = 180_000;
const brokers = inject("kafkaBrokers");
const admin = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING }).admin();
const unique = Date.now().toString(36);
const folder = join(process.cwd(), ".tideline", `topics-${unique}`);
const topic = `Prod.Orders_${unique}`;
const missing = `Prod.Returns_${unique}`;

const file = `
import { count, instant, stream, text, view } from "tideline";
const fields = { order_id: text({ from: "$.order.Id" }), at: instant({ as: "iso" }) };
const roles = { key: "order_id", eventId: "order_id", eventTime: "at" } as const;
const plain = { ...roles, revision: 1, partitions: 2, dedupWindow: 10, fields } as const;
export const orders = stream("orders", { ...plain, topic: "${topic}" });
export const returns = stream("returns", { ...plain, topic: "${missing}" });
export const hourly = view("hourly", { stream: orders, every: "1 hour", measures: { orders: count() } });
`;

let tideline: Installation;

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "orders.ts"), file);
  await admin.connect();
  const config = { "retention.ms": "86400000", "max.message.bytes": "1048588" };
  await ensureTopics(brokers, [{ name: topic, partitions: 3, config }]);
  tideline = await Installation.open("topics", { TIDELINE_SCHEMAS: folder, TIDELINE_VIEWS: folder });
});

afterAll(async () => {
  await tideline?.close();
  await admin.disconnect();
  await rm(folder, { recursive: true });
});

async function settings(name: string): Promise<Record<string, string | null>> {
  const { resources } = await admin.describeConfigs({
    resources: [{ type: ConfigResourceTypes.TOPIC, name }],
    includeSynonyms: false,
  });
  return Object.fromEntries(
    resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]) ?? [],
  );
}

const order = (id: string, minute: number) => ({
  key: id,
  value: Buffer.from(JSON.stringify({ order: { Id: id }, at: `2026-03-01T08:${10 + minute}:00Z` })),
});

test("it is read as it is, its settings stay, dead letters lie under the stream's own name and are replayed into it", {
  timeout: SLOW_MS,
}, async () => {
  const before = await settings(topic);
  const first = await tideline.run("init");
  expect(first.stdout).toContain(`there was no topic ${missing}: it was created with 2 partitions and retention.ms=-1`);
  expect(first.stdout).not.toContain(`there was no topic ${topic}`);
  await Promise.all([tideline.start("speed"), tideline.start("serve"), tideline.start("worker")]);
  await produce(brokers, topic, [order("a", 1), order("b", 2), { key: "c", value: Buffer.from('{"order":[]}') }]);
  const ask = () => tideline.ask("hourly");
  const orders = (answer: Awaited<ReturnType<typeof ask>>) =>
    answer.rows.reduce((sum, row) => sum + Number(row.orders), 0);
  await until("two orders", ask, (answer) => orders(answer) === 2);
  type Letter = { readonly id: string; readonly reason: string };
  const list = async () => JSON.parse((await tideline.run("dead-letters", "list", "--json")).stdout) as Letter[];
  const [letter] = await until("a letter", list, ({ length }) => length === 1);
  expect(letter?.id).toMatch(/^orders:\d:\d$/);
  expect(letter?.reason).toBe("contract: order_id: $.order is a list");
  const mended = join(folder, "mended.json");
  await writeFile(mended, order("c", 3).value);
  await tideline.run("dead-letters", "edit", letter?.id ?? "", "--file", mended);
  await tideline.run("dead-letters", "replay", letter?.id ?? "");
  await until("the mended one, too", ask, (answer) => orders(answer) === 3);
  await tideline.refresh("hourly");
  const answer = await until("a version that has all", ask, ({ batchVersion }) => batchVersion > 0);
  expect([orders(answer), answer.complete]).toEqual([3, true]);
  const names = await admin.listTopics();
  expect(names).toContain(`${tideline.namespace}.orders.dead-letters`);
  expect(names.filter((name) => name.startsWith(topic))).toEqual([topic]);
  expect(names).not.toContain(`${tideline.namespace}.orders`);
  expect(await settings(topic)).toEqual(before);
  const asked = await tideline.begin("send", "orders", mended, "--format", "avro");
  expect(asked.stderr).toContain("belongs to somebody else");
});
