import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { type View, view } from "../../core/definition/view.ts";
import { at, partitionsOf } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { presentRows } from "../../core/query/present.ts";
import { planQuery } from "../../core/query/query.ts";
import type { GroupValue } from "../../core/state/cells.ts";
import { type SpeedLayer, startSpeedLayer } from "../../speed-layer/main.ts";
import { deadLetterTopic, ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";
import { produce } from "../fixtures/events/produce.ts";
import { type Tick, ticks } from "../fixtures/events/views.ts";
import { everythingModel } from "../fixtures/oracles/everything-model.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { differenceOf, expectedRows, type Model, rowKey } from "../fixtures/oracles/oracle.ts";
import { addLive, answerBuilder, liveState } from "../fixtures/oracles/served-cells.ts";
import { until } from "../fixtures/servers/installation.ts";

/** A view that is new, far behind one that is live: it reads in a lane of its own, and holds nobody up. */

const brokers = inject("kafkaBrokers");
const namespace = `catchup-${Date.now().toString(36)}`;
const topic = topicName(namespace, ticks.name);
const measures = { ticks: count(), total: sum(sql`amount`) };
const live = view("live", { stream: ticks, by: { place: sql`place` }, every: "1 minute", measures });
const fresh = view("fresh", {
  stream: ticks,
  where: sql`NOT test`,
  by: { good: sql`good` },
  every: "1 minute",
  measures,
});
const model = (counted: (tick: Tick) => boolean, group: (tick: Tick) => GroupValue[]): Model<Tick> => ({
  ...everythingModel,
  counted,
  group,
  measures: { ticks: { kind: "count" }, total: { kind: "sum", of: (tick) => tick.amount } },
});
const models = new Map([
  [
    live,
    model(
      () => true,
      ({ place }) => [place],
    ),
  ],
  [
    fresh,
    model(
      ({ test: isTest }) => !isTest,
      ({ good }) => [good],
    ),
  ],
]);

let home: string;
let redis: TidelineRedis;
let sent = 0;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-catchup-"));
  redis = openRedis(inject("redisUrl"), () => undefined);
  await ensureTopics(brokers, [
    { name: topic, partitions: ticks.partitions },
    { name: deadLetterTopic(topic), partitions: 1 },
  ]);
});

afterAll(async () => {
  await redis.quit();
  await rm(home, { recursive: true });
});

async function send(size: number): Promise<void> {
  const records = Array.from({ length: size }, () => {
    const number = sent++;
    const tick: Tick = {
      id: `t${number}`,
      at: 1_700_000_000_000 + number * 100,
      place: ["eu", "us", null][number % 3] ?? null,
      good: [true, false, null][number % 5] ?? null,
      amount: (number % 2_001) - 1_000,
      tip: null,
      test: number % 10 === 0,
    };
    return { key: tick.id, value: Buffer.from(JSON.stringify(tick)) };
  });
  await produce(brokers, topic, records);
}

function start(views: readonly View[], lines: string[]): Promise<SpeedLayer> {
  const definitions = new Map(
    views.map((one) => [one.name, { view: one, generation: generationOf(one), file: "test" }]),
  );
  const log = new Writable({ write: (chunk, _, done) => done(void lines.push(String(chunk))) });
  return startSpeedLayer({
    brokers,
    redisUrl: inject("redisUrl"),
    dataDir: home,
    namespace,
    definitions: { views: definitions, streams: new Map([[ticks.name, ticks]]) },
    pacing: { batchBytes: 64 * 1024, batchRecords: 0, fullBatchRecords: 200, farBehindOffsets: 2_000n },
    registry: new Registry(),
    logger: pino(log),
  });
}

const chainOf = (of: View) => new Chain(redis, namespace, generationOf(of));

async function offsetsOf(of: View): Promise<number> {
  const chain = await chainOf(of).load();
  return partitionsOf(chain?.applied ?? new Map()).reduce(
    (total, p) => total + Number(at(chain?.applied ?? new Map(), p)),
    0,
  );
}

async function expectExact(of: View): Promise<void> {
  const plan = planQuery(of, { from: "2020-01-01", to: "2030-01-01", limit: "100000" });
  const oracle = models.get(of);
  const read = await liveState(chainOf(of));
  if (!plan.ok || oracle === undefined || read === null) throw new Error("nothing to compare");
  const builder = answerBuilder(of, plan.query);
  await addLive(builder, of, chainOf(of), read);
  const { rows } = presentRows(of, plan.query, builder.table.cells());
  const expected = expectedRows(oracle, await readLog(brokers, topic), read.chain.applied);
  expect(rows.length).toBe(expected.size);
  for (const row of rows) {
    const group = Object.keys(of.by).map((name) => row[name] as GroupValue);
    const want = expected.get(rowKey(Date.parse(String(row.bucket)), group));
    expect(want === undefined ? "no such row" : differenceOf(row, want)).toBe("");
  }
}

test("a view far behind catches up in a lane of its own, while the live one goes on", async () => {
  // In small batches, as a busy log has them: what is fetched is whole batches.
  for (let batch = 0; batch < 40; batch++) await send(300);
  const first = await start([live], []);
  await until(
    "the live view is there",
    () => offsetsOf(live),
    (offsets) => offsets >= 12_000,
  );
  await first.close();

  const lines: string[] = [];
  const both = await start([live, fresh], lines);
  let [whileBehind, sending] = [0, true];
  const load = (async () => {
    while (sending) {
      await send(50);
      await new Promise((resolve) => setTimeout(resolve, 50));
      const [held, behind] = [await offsetsOf(live), await offsetsOf(fresh)];
      if (held >= 12_050 && behind < held - 2_000) whileBehind += 1;
    }
  })();
  await until(
    "both are at the end",
    async () => (await offsetsOf(live)) - (await offsetsOf(fresh)),
    (gap) => gap < 500,
  );
  await until("the lanes are one again", async () => lines.some((line) => line.includes("caught up")), Boolean);
  sending = false;
  await load;
  await until(
    "all is applied",
    async () => Math.min(await offsetsOf(live), await offsetsOf(fresh)),
    (all) => all >= sent,
  );
  await both.close();
  expect(lines.some((line) => line.includes("reads in a lane of its own"))).toBe(true);
  // The live view had new events in its answers while the other was far behind.
  expect(whileBehind).toBeGreaterThan(0);
  await expectExact(live);
  await expectExact(fresh);
});
