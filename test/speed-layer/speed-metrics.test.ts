import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { count, instant, sql, stream, sum, text, view } from "../../core/definition/builders.ts";
import { generationOf } from "../../core/definition/generation.ts";
import type { View } from "../../core/definition/view.ts";
import { type SpeedLayer, startSpeedLayer } from "../../speed-layer/main.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { produce } from "../fixtures/events/produce.ts";
import { until } from "../fixtures/servers/installation.ts";

/** Gauges of the speed layer show what holds now, and nothing that is over. */

const visits = stream("visits", {
  revision: 1,
  partitions: 4,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 1_000,
  fields: { id: text({ max: 40 }), at: instant() },
});
const visited = view("visited", { stream: visits, by: {}, every: "1 day", measures: { visits: count() } });
/** Stopped by an id that is not a number. */
const numbered = view("numbered", {
  stream: visits,
  by: {},
  every: "1 day",
  measures: { total: sum(sql`CAST(id AS BIGINT)`) },
});

let namespace: string;
let dataDir: string;
let rounds = 0;
const running: SpeedLayer[] = [];

beforeEach(async () => {
  namespace = `speed-metrics-${Date.now().toString(36)}-${rounds++}`;
  dataDir = await mkdtemp(join(tmpdir(), "tideline-speed-metrics-"));
  await ensureTopics(inject("kafkaBrokers"), [{ name: topicName(namespace, visits.name), partitions: 4 }]);
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((layer) => layer.close()));
  await rm(dataDir, { recursive: true });
});

/** A speed layer; returns what it counts, and how to ask for the labels of a gauge. */
async function start(...views: readonly View[]) {
  const registry = new Registry();
  const definitions = {
    views: new Map(views.map((one) => [one.name, { view: one, generation: generationOf(one), file: "test" }])),
    streams: new Map([[visits.name, visits]]),
  };
  const servers = { brokers: inject("kafkaBrokers"), redisUrl: inject("redisUrl") };
  const options = { ...servers, dataDir, namespace, definitions, registry, logger: pino({ level: "silent" }) };
  const layer = await startSpeedLayer(options);
  running.push(layer);
  const samples = async (name: string) => (await registry.getSingleMetric(name)?.get())?.values ?? [];
  return { layer, samples };
}

const send = (ids: readonly string[]) => {
  const value = (id: string) => Buffer.from(JSON.stringify({ id, at: 1_790_000_000_000 }));
  return produce(
    inject("kafkaBrokers"),
    topicName(namespace, visits.name),
    ids.map((id) => ({ key: id, value: value(id) })),
  );
};

test("the lag of a partition is shown by the process that has it", { timeout: 120_000 }, async () => {
  const lag = "tideline_speed_lag_offsets";
  const [first, partitions] = [
    await start(visited),
    (all: readonly { labels: object }[]) =>
      all.map(({ labels }) => Number((labels as { partition: number }).partition)).sort(),
  ];
  await send(Array.from({ length: 100 }, (_, index) => String(index)));
  const all = () => first.samples(lag);
  await until("all partitions are read", all, (found) => partitions(found).length === 4);
  await until("to their end", all, (found) => found.every(({ value }) => value === 0));
  const second = await start(visited);
  const own = async (one: typeof first) => one.layer.health().streams.flatMap((found) => [...found.partitions]);
  await until(
    "the second has partitions",
    () => own(second),
    (found) => found.length === 2,
  );
  await until(
    "the first has the others",
    () => own(first),
    (found) => found.length === 2,
  );
  await send(Array.from({ length: 100 }, (_, index) => String(1_000 + index)));
  for (const one of [first, second]) {
    const wanted = String(await own(one));
    await until(
      "each shows its own",
      () => one.samples(lag),
      (found) => String(partitions(found)) === wanted,
    );
  }
});

test("a view that is not followed any more is not shown as stopped", { timeout: 120_000 }, async () => {
  const { samples } = await start(visited, numbered);
  await send(["1", "x"]);
  const stopped = () => samples("tideline_view_stopped");
  await until("the view stops", stopped, ([one]) => one?.labels.code === "VIEW_FAILED");
  expect(await stopped()).toMatchObject([{ labels: { view: "numbered", code: "VIEW_FAILED" }, value: 1 }]);
  await new Generations(new DataDirectory(dataDir)).retire(generationOf(numbered), Date.now());
  await until("it is not shown any more", stopped, (all) => all.length === 0);
});
