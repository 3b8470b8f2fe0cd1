import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { instant, integer, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { shardOf } from "../../core/state/shard.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { produce } from "../fixtures/events/produce.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** Questions for single keys of a large closed segment: they read the cells of these keys and no others. */

const sales = stream("keyed-sales", {
  revision: 1,
  partitions: 2,
  key: "shop",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  fields: {
    id: text({ max: 40 }),
    shop: text({ max: 40 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    cents: integer({ min: 0, max: 1e9 }),
  },
});
const shops = table("shops", {
  stream: sales,
  key: sql`shop`,
  shards: 16,
  measures: { sales: count(), cents: sum(sql`cents`) },
});

/** More cells than a segment that is read whole in any case has. */
const KEYS = 6_000;
const nameOf = (n: number) => (n % 1_000 === 7 ? `a/b ${n} 東京` : `shop-${n}`);

const shardOfKey = (n: number) => (shops.table === null ? -1 : shardOf([nameOf(n)], shops.table));

let layers: Layers;
let sent = 0;

beforeAll(async () => {
  layers = await Layers.open([shops]);
  await ensureTopics(inject("kafkaBrokers"), [{ name: layers.topic(sales.name), partitions: 2 }]);
});

afterAll(async () => {
  await layers?.close();
});

async function sell(numbers: readonly number[], cents: number): Promise<void> {
  const records = numbers.map((n) => {
    sent += 1;
    const value = { id: `s${sent}`, shop: nameOf(n), at: Date.UTC(2026, 0, 1), cents };
    return { key: nameOf(n), value: Buffer.from(JSON.stringify(value)) };
  });
  await produce(inject("kafkaBrokers"), layers.topic(sales.name), records);
  await until(
    "all sales",
    async () => (await layers.chain(shops).load())?.applied ?? new Map<number, bigint>(),
    (applied) => [...applied.values()].reduce((sum, to) => sum + Number(to), 0) >= sent,
    60_000,
  );
}

interface Body {
  readonly rows: object[];
  readonly complete: boolean;
}

async function rowOf(n: number): Promise<Body> {
  const response = await fetch(layers.url(`/tables/shops?key=${encodeURIComponent(nameOf(n))}`));
  return (await response.json()) as Body;
}

test("a row has its cells of the closed segment and of the open one, whatever was read before", async () => {
  await sell(
    Array.from({ length: KEYS }, (_, n) => n),
    5,
  );
  expect(await layers.chain(shops).seal(null)).not.toBeNull();
  const again = Array.from({ length: 100 }, (_, n) => n * 50);
  await sell(again, 7);
  const expected = (n: number) => {
    const isAgain = n % 50 === 0 && n < 5_000;
    return { shop: nameOf(n), sales: isAgain ? 2 : 1, cents: isAgain ? 12 : 5 };
  };
  const together = Array.from({ length: KEYS }, (_, n) => n).filter((n) => shardOfKey(n) === shardOfKey(0));
  const some = [...new Set([50, 51, 1_007, 4_007, 5_999, ...together.slice(0, 3)])];
  for (const n of some) expect(await rowOf(n)).toMatchObject({ rows: [expected(n)], complete: true });
  expect(await rowOf(KEYS)).toMatchObject({ rows: [], complete: true });
  const many = some.map((n) => `key=${encodeURIComponent(nameOf(n))}`).join("&");
  const { rows } = (await (await fetch(layers.url(`/tables/shops?${many}`))).json()) as Body;
  expect(rows.length).toBe(some.length);
  const all = (await (await fetch(layers.url(`/tables/shops?limit=100000`))).json()) as Body;
  const names = new Map(Array.from({ length: KEYS }, (_, n) => [nameOf(n), expected(n)]));
  expect(all.rows).toHaveLength(KEYS);
  for (const row of all.rows) expect(row).toEqual(names.get((row as { shop: string }).shop));
  for (const n of some) expect(await rowOf(n)).toMatchObject({ rows: [expected(n)], complete: true });
});

test("cells that Redis has evicted are missed by the questions that need them, and by no others", async () => {
  await layers.serving?.close();
  await layers.restart();
  const closed = (await layers.chain(shops).load())?.segments.filter(({ to }) => to !== null) ?? [];
  const lost = Array.from({ length: KEYS }, (_, n) => n).filter((n) => shardOfKey(n) === shardOfKey(1));
  const kept =
    Array.from({ length: KEYS }, (_, n) => n).find((n) => n % 50 !== 0 && shardOfKey(n) !== shardOfKey(1)) ?? -1;
  const redis = openRedis(inject("redisUrl"), () => {});
  const pages = await redis.keys(`tl:?${layers.namespace}/${generationOf(shops)}?:s:*:b:${shardOfKey(1)}*`);
  const own = pages.filter((key) => closed.some(({ id }) => key.includes(`:s:${id}:b:${shardOfKey(1)}`)));
  const ofShard = own.filter((key) => new RegExp(`:b:${shardOfKey(1)}(/\\d+)?$`).test(key));
  expect(ofShard.length).toBeGreaterThan(0);
  await redis.del(...ofShard);
  redis.disconnect();
  expect(await rowOf(kept)).toMatchObject({ rows: [{ sales: 1, cents: 5 }], complete: true });
  for (const n of lost.slice(0, 3)) expect(await rowOf(n)).toMatchObject({ complete: false });
});
