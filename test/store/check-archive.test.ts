import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { AvroSchema, avroSchemaText } from "../../core/codec/avro/avro.ts";
import type { Stream, Version } from "../../core/contract/stream.ts";
import { checkDefinitions } from "../../store/check/check.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { archiveTo, folder, kafka, log, place, send, useServers } from "../fixtures/servers/batch-place.ts";

/** `tideline check` over records that are Avro, and over those that only the archive still has. */

useServers();

const file = (topic: string, revision: number, most: number) => `
import { count, integer, instant, stream, sum, sql, text, view } from "tideline";
export const orders = stream("orders", {
  topic: "${topic}", revision: ${revision}, partitions: 2, dedupWindow: 100,
  key: "id", eventId: "id", eventTime: "at",
  fields: { id: text(), at: instant(), amount: integer({ min: 0, max: ${most} }) },
});
export const totals = view("totals", {
  stream: orders, every: "1 day", measures: { orders: count(), amount: sum(sql\`amount\`) },
});
`;

const AT = Date.parse("2026-03-01T08:00:00Z");
/** By partition: 30 records each, of which the one at offset 3 is large and the one at 4 has the id of the one at 2. */
const orders = [0, 1].map((partition) =>
  Array.from({ length: 30 }, (_, offset) => ({
    id: `${partition}-${offset === 4 ? 2 : offset}`,
    at: AT,
    amount: offset === 3 ? 900 : offset,
  })),
);

test("records of both are read by both contracts, the newest first where not all are asked for", async () => {
  const { stores, target } = await place(2);
  const { topic } = target;
  const definitionsOf = async (revision: number, most: number) => {
    const path = join(folder, `check-${revision}-${most}`);
    await mkdir(path, { recursive: true });
    await writeFile(join(path, "orders.ts"), file(topic, revision, most));
    return loadDefinitions({ schemas: [path], views: [path] });
  };
  const before = await definitionsOf(1, 1_000);
  const stream = before.streams.get("orders") as Stream;
  const schema = avroSchemaText(stream, stream.versions[0] as Version);
  const id = await openRegistry(stores.data, null).register("orders-value", schema, "none");
  const avro = new AvroSchema(schema);
  await send(topic, orders[0]?.map((order) => avro.encode(id, order)) ?? [], 0);
  await send(topic, orders[1]?.map((order) => JSON.stringify(order)) ?? [], 1);
  await new Generations(stores.data).register(before, "test");
  await archiveTo(stores, { stream, topic });
  const admin = kafka.admin();
  await admin.connect();
  const deleted = [20, 25].map((offset, partition) => ({ partition, offset: String(offset) }));
  // Otherwise kafkajs does not know the topic's leaders.
  await admin.fetchTopicOffsets(topic);
  await admin.deleteTopicRecords({ topic, partitions: deleted });
  await admin.disconnect();
  await send(topic, [JSON.stringify({ id: "late", at: AT, amount: 800 })], 1);

  const definitions = await definitionsOf(2, 500);
  const check = (last: number) => {
    const signal = new AbortController().signal;
    return checkDefinitions(
      { ...stores, log },
      { definitions, namespace: "", last, view: null, signal, onRecords: () => {} },
    );
  };
  const whole = await check(1_000);
  const [found] = whole.streams;
  expect(found?.read).toMatchObject({ records: 61, from: { 0: "0", 1: "0" }, to: { 0: "30", 1: "31" } });
  expect(
    found?.findings.map(({ kind, records, examples }) => [kind, records, examples.map((one) => one.position)]),
  ).toEqual([["refused", 3, ["0:3", "1:3", "1:30"]]]);
  const sum = orders.flat().reduce((total, { amount }) => total + amount, 0) - 2 * 4 + 800;
  expect(whole.views[0]?.differences?.measures).toMatchObject({
    orders: { before: 59, after: 56 },
    amount: { before: sum, after: sum - 2 * 900 - 800 },
  });
  // Ten and six records are in the log; of each partition the newest archived ones are added.
  expect((await check(30)).streams[0]?.read).toMatchObject({ records: 30, from: { 0: "13", 1: "18" } });
  expect((await check(5)).streams[0]?.read?.records).toBe(5);
});
