import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import { archivedEvents } from "../../batch-layer/archive/archived-events.ts";
import { type BatchStores, UNWATCHED } from "../../batch-layer/stores.ts";
import { flag, instant, integer, oneOf, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { type Stream, stream } from "../../core/contract/stream.ts";
import { view } from "../../core/definition/view.ts";
import { position } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { ledgerSql, stateSql } from "../../core/state/compile.ts";
import { spanEvents } from "../../store/decode/span-events.ts";
import { DuckPool, rowsOf } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { storesOf } from "../fixtures/servers/stores.ts";

const roles = { partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 30 } as const;
const fields = {
  id: text({ max: 8 }),
  at: instant({ from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" }),
  shop: oneOf("north", "south"),
  cents: integer({ min: 0, max: 1_000 }),
};
const before = stream("sales", { ...roles, revision: 1, fields });
/** Another id, so other duplicates; one shop more, so fewer rejects; a required field that an upcast fills. */
const after = stream("sales", {
  ...roles,
  revision: 2,
  version: 2,
  fields: { ...fields, shop: oneOf("north", "south", "west"), big: flag() },
  previous: [
    {
      version: 1,
      fields: { ...fields, shop: text({ max: 8 }) },
      upcast: { id: sql`lower(id)`, big: sql`cents > 500` },
    },
  ],
});
const takings = view("takings", {
  stream: after,
  by: { shop: sql`shop`, big: sql`big` },
  every: "1 hour",
  measures: { sales: count(), cents: sum(sql`cents`) },
});

/** The same id in capitals comes six offsets later; some shops are new, some unknown; later ones are of version 2. */
function sale(n: number): string {
  const id = n % 7 === 0 && n > 0 ? `A${n - 6}` : `a${n}`;
  const shop = n % 11 === 0 ? "west" : n % 13 === 0 ? "moon" : n % 2 === 0 ? "north" : "south";
  const event = { id, at: Date.parse("2025-06-01T00:00:00Z") + n * 60_000, shop, cents: (n * 37) % 1_001 };
  return n % 17 === 0 ? "{broken" : JSON.stringify(n > 200 && n % 3 === 0 ? { ...event, big: n % 2 === 0 } : event);
}

const SALES = 300;
const topic = `contract-change-${Date.now().toString(36)}`;
let folder: string;
let pool: DuckPool;
let log: LogReader;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-contract-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [folder] });
  log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "contract-test" });
  await ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions: 1 }]);
  const producer = new Kafka({ brokers: [inject("kafkaBrokers")], logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  await producer.send({ topic, messages: Array.from({ length: SALES }, (_, n) => ({ value: sale(n) })) });
  await producer.disconnect();
});

afterAll(async () => {
  await log?.close();
  pool?.close();
  await rm(folder, { recursive: true, force: true });
});

function storesIn(name: string): BatchStores {
  return storesOf(new DataDirectory(join(folder, name)), { log, pool });
}

/** Archives up to `to`, 70 offsets a file. */
async function archiveTo(stores: BatchStores, definition: Stream, to: number): Promise<void> {
  const target = { stream: definition, topic };
  for (;;) {
    const { topicId, chunks } = await planStream(stores, target, new Map([[0, position(to)]]));
    const [chunk] = chunks;
    if (chunk === undefined) return;
    const end = String(Math.min(Number(chunk.from) + 70, to));
    await archiveChunk(stores, { ...target, topicId }, { chunk: { ...chunk, to: end } }, UNWATCHED);
  }
}

/** What the view makes of `[from, SALES)` of an archive: its states, its ledger, and what the entries count. */
async function answersOf(stores: BatchStores, from: number): Promise<unknown> {
  const { id } = await log.topic(topic);
  const to = new Map([[0, position(SALES)]]);
  const span = { stream: after, topic, topicId: id, from: new Map([[0, position(from)]]), to };
  const duck = await pool.connect();
  const { relation, counts } = await archivedEvents(stores, duck, span);
  if (relation === null) throw new Error("nothing was archived");
  const whole = await spanEvents(stores, duck, span, UNWATCHED);
  const answers = {
    states: await rowsOf(duck, `SELECT * FROM (${stateSql(takings, relation)}) ORDER BY ALL`),
    ledger: await rowsOf(duck, ledgerSql(takings, relation)),
    rejects: await rowsOf(duck, `SELECT _offset, _reject, _duplicate, _timestamp FROM ${relation} ORDER BY _offset`),
    counts: from === 0 ? [...counts] : null,
    recomputed: await rowsOf(duck, `SELECT * FROM (${stateSql(takings, whole ?? "")}) ORDER BY ALL`),
  };
  duck.closeSync();
  return answers;
}

test("what another revision archived is decoded again: states, ledger and duplicates are those of a fresh archive of the log", async () => {
  const [changed, fresh] = [storesIn("changed"), storesIn("fresh")];
  await archiveTo(changed, before, 150);
  await archiveTo(changed, after, SALES);
  await archiveTo(fresh, after, SALES);
  // Beginning within an entry and within a dedup window, too.
  for (const from of [0, 100, 160]) expect(await answersOf(changed, from)).toEqual(await answersOf(fresh, from));
  const duck = await pool.connect();
  const { id: topicId } = await log.topic(topic);
  const span = { stream: after, topic, topicId, from: new Map(), to: new Map([[0, position(150)]]) };
  const first = (await archivedEvents(changed, duck, span)).relation;
  const [counted] = await rowsOf(
    duck,
    `SELECT count(*) FILTER (_duplicate), count(*) FILTER (shop = 'west'), count(_reject) FROM ${first}`,
  );
  duck.closeSync();
  // Revision 1 saw no duplicate, and refused every sale of the new shop.
  expect(Number(counted?.[0])).toBeGreaterThan(10);
  expect(Number(counted?.[1])).toBeGreaterThan(10);
  expect(Number(counted?.[2])).toBeGreaterThan(10);
});

test("another dedup window or event id under a new revision decides the duplicates of archived records again", async () => {
  const { id } = await log.topic(topic);
  const duplicates = async (stores: BatchStores, definition: Stream): Promise<unknown[][]> => {
    const duck = await pool.connect();
    const to = new Map([[0, position(SALES)]]);
    const span = { stream: definition, topic, topicId: id, from: new Map(), to };
    const { relation } = await archivedEvents(stores, duck, span);
    const rows = await rowsOf(duck, `SELECT _offset, _id, _duplicate FROM ${relation} ORDER BY _offset`);
    duck.closeSync();
    return rows;
  };
  // Shops mostly take turns, so that a shop's name comes again after two offsets.
  const old = stream("sales", { ...roles, revision: 1, eventId: "shop", fields });
  const narrow = stream("sales", { ...roles, revision: 2, eventId: "shop", fields, dedupWindow: 2 });
  const byId = stream("sales", { ...roles, revision: 3, fields });
  for (const changed of [narrow, byId]) {
    const [archivedBefore, fresh] = [storesIn(`before-${changed.revision}`), storesIn(`fresh-${changed.revision}`)];
    await archiveTo(archivedBefore, old, 150);
    await archiveTo(archivedBefore, changed, SALES);
    await archiveTo(fresh, changed, SALES);
    expect(await duplicates(archivedBefore, changed)).toEqual(await duplicates(fresh, changed));
  }
  const many = async (name: string, definition: Stream) =>
    (await duplicates(storesIn(name), definition)).filter(([, , duplicate]) => duplicate === true).length;
  await archiveTo(storesIn("old"), old, SALES);
  const found = [await many("old", old), await many("fresh-2", narrow), await many("fresh-3", byId)];
  expect(found).toEqual(found.toSorted((a, b) => b - a));
  expect(new Set(found).size).toBe(3);
});
