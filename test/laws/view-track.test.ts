import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import { at, type Position, position } from "../../core/log/position.ts";
import { ROWS } from "../../core/measures/measure.ts";
import { speedMetrics } from "../../speed-layer/metrics.ts";
import { BatchReader, type BatchStates } from "../../speed-layer/states/batch-states.ts";
import { ViewTrack } from "../../speed-layer/view-track.ts";
import { Archive } from "../../store/archive/archive.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { Decoder } from "../../store/decode/decoder.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { type FetchedPartition, LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";
import { NO_SCHEMAS } from "../fetched.ts";
import { produce } from "../produce.ts";
import { copyOf } from "../redis-copy.ts";
import { liveState } from "../served-cells.ts";
import { everything, type Tick, ticks } from "../views.ts";

const brokers = inject("kafkaBrokers");
const namespace = randomUUID();
const topic = `${namespace}.ticks`;
const generation = generationOf(everything);
const definition = { view: everything, generation, file: "test" };

const TICK: Tick = {
  id: "t",
  at: 1_700_000_000_000,
  place: "eu",
  good: true,
  amount: 1,
  tip: null,
  test: false,
};

let home: string;
let redis: TidelineRedis;
let log: LogReader;
let pool: DuckPool;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-track-"));
  redis = openRedis(inject("redisUrl"), () => undefined);
  log = new LogReader({ brokers, clientId: "track" });
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, keepsPlans: true });
  await ensureTopics(brokers, [{ name: topic, partitions: 1 }]);
});

afterAll(async () => {
  pool.close();
  await log.close();
  await redis.quit();
  await rm(home, { recursive: true });
});

/** Sends three events and answers what a fetch from `from` gives: all of the log from there on. */
async function grow(from: bigint): Promise<FetchedPartition> {
  const records = [0, 1, 2].map((number) => {
    const tick: Tick = { ...TICK, id: `t${from}-${number}` };
    return { key: tick.id, value: Buffer.from(JSON.stringify(tick)) };
  });
  await produce(brokers, topic, records);
  return fetch(from, from + 3n);
}

async function fetch(from: bigint, to: bigint): Promise<FetchedPartition> {
  for (;;) {
    const positions = new Map([[0, position(from)]]);
    const [fetched] = await log.fetch(topic, positions, { maxWaitMs: 500, maxBytes: 1_000_000 });
    if (fetched !== undefined && fetched.to === to) return fetched;
  }
}

test("an answer that puts a view's position back while a batch is prepared loses nothing", async () => {
  const data = new DataDirectory(home);
  const stores = { manifests: new Manifests(data), archive: new Archive(data), log };
  const chain = new Chain(redis, namespace, generation);
  const track = new ViewTrack({
    definition,
    chain,
    newestManifest: () => beginGeneration(stores, generation, topic, "test"),
    longArchive: async () => false,
    requireRedis: async () => undefined,
    askToSettle: async () => undefined,
    archiveTails: (topicId) => stores.archive.tails(topic, topicId),
    metrics: speedMetrics(new Registry()),
    logger: pino({ level: "silent" }),
  });
  const [info, bounds] = [await log.topic(topic), await log.bounds(topic)];
  await track.attach({ log, reads: log, topic, info, bounds, partitions: [0] }, 0);
  expect(track.phase).toBe("live");

  const duck = await pool.connect();
  const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
  const reader = new BatchReader(decoder.statements, () => undefined);
  const prepare = async (fetched: FetchedPartition, ready: Promise<unknown> = Promise.resolve()) => {
    await decoder.decode([fetched]);
    const read = reader.read([everything], "small");
    const ledger: BatchStates["ledger"] = async (events) => {
      const ledgers = await read.ledger(events);
      await ready;
      return ledgers;
    };
    return { applying: track.prepare({ ...read, ledger, fetched: [fetched], topicId: info.id }, 0) };
  };
  const apply = async (prepared: { applying: Promise<(() => Promise<void>) | null> }) => {
    const application = await prepared.applying;
    expect(application).not.toBeNull();
    await application?.();
  };
  const applied = async (): Promise<Position> => at((await chain.load())?.applied ?? new Map(), 0);

  const asItWas = await copyOf(redis, namespace);
  await apply(await prepare(await grow(0n)));
  expect(await applied()).toBe(3n);
  const second = await prepare(await grow(3n));
  await second.applying;
  // Redis comes back as it was before the first batch; the second learns it while the third is being prepared.
  await asItWas();
  const release = new AbortController();
  const third = await prepare(await grow(6n), once(release.signal, "abort"));
  await apply(second);
  expect(at(track.positions, 0)).toBe(0n);
  release.abort();
  await apply(third);
  expect(await applied()).toBe(0n);
  expect(at(track.positions, 0)).toBe(0n);

  await decoder.forget([0]);
  await apply(await prepare(await fetch(0n, 9n)));
  expect(await applied()).toBe(9n);
  const counted = (await liveState(chain))?.open.flatMap(({ values }) => values) ?? [];
  expect(counted.filter(([field]) => field.startsWith(`${ROWS.name} `)).map(([, value]) => value)).toEqual([9n]);
  duck.closeSync();
});

test("a data directory that is older than Redis, as after a restore, is where the view begins again", async () => {
  const stores = {
    manifests: new Manifests(new DataDirectory(home)),
    archive: new Archive(new DataDirectory(home)),
    log,
  };
  const chain = new Chain(redis, randomUUID(), generation);
  // Redis knows of version 120, at a cut that the directory does not have.
  expect(await chain.reseed(new Map([[0, position(5n)]]), 120, null)).toBe(true);
  const [info, bounds] = [await log.topic(topic), await log.bounds(topic)];
  const track = new ViewTrack({
    definition,
    chain,
    newestManifest: () => beginGeneration(stores, generation, topic, "test"),
    longArchive: async () => false,
    archiveTails: async () => new Map(),
    requireRedis: async () => undefined,
    askToSettle: async () => undefined,
    metrics: speedMetrics(new Registry()),
    logger: pino({ level: "silent" }),
  });
  await track.attach({ log, reads: log, topic, info, bounds, partitions: [0] }, 0);
  expect(track.phase).toBe("live");
  expect(await chain.load()).toMatchObject({ pointer: 0, applied: new Map([[0, 0n]]) });
  await chain.drop();
});

test("a new leader of a partition whose log was deleted since the view attached stops no view", async () => {
  const own = `${randomUUID()}.ticks`;
  await ensureTopics(brokers, [{ name: own, partitions: 1 }]);
  const records = Array.from({ length: 3 }, (_, n) => ({ key: `k${n}`, value: Buffer.from("{}") }));
  await produce(brokers, own, records);
  const data = new DataDirectory(join(home, "leader"));
  const stores = { manifests: new Manifests(data), archive: new Archive(data), log };
  const chain = new Chain(redis, randomUUID(), generation);
  const [info, bounds] = [await log.topic(own), await log.bounds(own)];
  const track = new ViewTrack({
    definition,
    chain,
    newestManifest: () => beginGeneration(stores, generation, own, "test"),
    longArchive: async () => false,
    archiveTails: async () => new Map(),
    requireRedis: async () => undefined,
    askToSettle: async () => undefined,
    metrics: speedMetrics(new Registry()),
    logger: pino({ level: "silent" }),
  });
  await track.attach({ log, reads: log, topic: own, info, bounds, partitions: [0] }, 0);
  const duck = await pool.connect();
  const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
  const reader = new BatchReader(decoder.statements, () => undefined);
  const read = async (from: bigint) => {
    const [fetched] = await log.fetch(own, new Map([[0, position(from)]]), { maxWaitMs: 5_000, maxBytes: 1_000_000 });
    return fetched as FetchedPartition;
  };
  const apply = async (fetched: FetchedPartition) => {
    await decoder.decode([fetched]);
    const application = await track.prepare(
      { ...reader.read([everything], "small"), fetched: [fetched], topicId: info.id },
      0,
    );
    await application?.();
  };
  await apply(await read(0n));
  expect(at(track.positions, 0)).toBe(3n);

  await produce(brokers, own, records);
  const admin = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.fetchTopicOffsets(own); // or kafkajs does not know the topic's leaders
  await admin.deleteTopicRecords({ topic: own, partitions: [{ partition: 0, offset: "3" }] });
  await admin.disconnect();
  const next = await read(3n);
  await apply(Object.assign(next, { leaderEpoch: next.leaderEpoch + 1 }));
  expect([track.error, track.phase, at(track.positions, 0)]).toEqual([null, "live", 6n]);
  duck.closeSync();
});

test("a batch that was decoded before a version was published is applied, and the view is attached again where it ends", async () => {
  const stores = {
    manifests: new Manifests(new DataDirectory(home)),
    archive: new Archive(new DataDirectory(home)),
    log,
  };
  const chain = new Chain(redis, randomUUID(), generation);
  const [info, bounds] = [await log.topic(topic), await log.bounds(topic)];
  const track = new ViewTrack({
    definition,
    chain,
    newestManifest: () => beginGeneration(stores, generation, topic, "test"),
    longArchive: async () => false,
    archiveTails: async () => new Map(),
    requireRedis: async () => undefined,
    askToSettle: async () => undefined,
    metrics: speedMetrics(new Registry()),
    logger: pino({ level: "silent" }),
  });
  const attach = () => track.attach({ log, reads: log, topic, info, bounds, partitions: [0] }, 0);
  await attach();
  const duck = await pool.connect();
  const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
  const reader = new BatchReader(decoder.statements, () => undefined);
  const prepare = async (maxBytes: number) => {
    const [fetched] = await log.fetch(topic, new Map([[0, at(track.positions, 0)]]), { maxWaitMs: 5_000, maxBytes });
    await decoder.decode([fetched as FetchedPartition]);
    return track.prepare(
      { ...reader.read([everything], "small"), fetched: [fetched as FetchedPartition], topicId: info.id },
      0,
    );
  };
  const first = await prepare(1);
  await chain.publish(1);
  await first?.();
  expect([track.phase, track.waits([0], 0)]).toEqual(["live", true]);
  const second = await prepare(1);
  await second?.();
  expect((await chain.load())?.applied).toEqual(new Map([[0, 2n]]));
  await attach();
  expect([track.phase, track.waits([0], 0), at(track.positions, 0)]).toEqual(["live", false, 2n]);
  await (await prepare(1_000_000))?.();
  const counted = (await liveState(chain))?.open.flatMap(({ values }) => values) ?? [];
  expect(counted.filter(([field]) => field.startsWith(`${ROWS.name} `)).map(([, value]) => value)).toEqual([9n]);
  await chain.drop();
  duck.closeSync();
});

/** A Redis that answers every `apply` with this error. */
function answering(sound: TidelineRedis, message: string): TidelineRedis {
  return new Proxy(sound, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name === "tideline_apply") return () => Promise.reject(new Error(message));
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test("a batch that Redis calls malformed stops its view by name; a Redis that is full or loading stops none", async () => {
  const stores = {
    manifests: new Manifests(new DataDirectory(home)),
    archive: new Archive(new DataDirectory(home)),
    log,
  };
  const [info, bounds] = [await log.topic(topic), await log.bounds(topic)];
  const duck = await pool.connect();
  const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
  const fetched = await fetch(0n, 9n);
  await decoder.decode([fetched]);
  const reader = new BatchReader(decoder.statements, () => undefined);
  const applyTo = async (message: string) => {
    const chain = new Chain(answering(redis, message), randomUUID(), generation);
    const track = new ViewTrack({
      definition,
      chain,
      newestManifest: () => beginGeneration(stores, generation, topic, "test"),
      longArchive: async () => false,
      archiveTails: async () => new Map(),
      requireRedis: async () => undefined,
      askToSettle: async () => undefined,
      metrics: speedMetrics(new Registry()),
      logger: pino({ level: "silent" }),
    });
    await track.attach({ log, reads: log, topic, info, bounds, partitions: [0] }, 0);
    const apply = await track.prepare(
      { ...reader.read([everything], "small"), fetched: [fetched], topicId: info.id },
      0,
    );
    await apply?.();
    return track;
  };
  const stopped = await applyTo("ERR tideline: bad pick");
  expect([stopped.phase, stopped.error?.code]).toEqual(["stopped", "APPLY_REFUSED"]);
  await expect(applyTo("OOM command not allowed when used memory > 'maxmemory'.")).rejects.toThrow("OOM");
  await expect(applyTo("LOADING Redis is loading the dataset in memory")).rejects.toThrow("LOADING");
  duck.closeSync();
});

test("where cells pile up, those that a version has go after five seconds, and only the others ask for one", async () => {
  const own = `${randomUUID()}.ticks`;
  await ensureTopics(brokers, [{ name: own, partitions: 1 }]);
  const data = new DataDirectory(join(home, "room"));
  const stores = { manifests: new Manifests(data), archive: new Archive(data), log };
  const chain = new Chain(redis, randomUUID(), generation);
  const [info, bounds] = [await log.topic(own), await log.bounds(own)];
  let asked = 0;
  let maxCells = 1_000_000;
  const track = new ViewTrack({
    definition: {
      ...definition,
      get view() {
        return { ...everything, maxCells };
      },
    },
    chain,
    newestManifest: () => beginGeneration(stores, generation, own, "test"),
    longArchive: async () => false,
    archiveTails: async () => new Map(),
    requireRedis: async () => undefined,
    askToSettle: async () => {
      asked += 1;
    },
    metrics: speedMetrics(new Registry()),
    logger: pino({ level: "silent" }),
  });
  await track.attach({ log, reads: log, topic: own, info, bounds, partitions: [0] }, 0);
  const duck = await pool.connect();
  const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
  const reader = new BatchReader(decoder.statements, () => undefined);
  /** Applies one more record at a time of the clock; answers how many cells there are, and how often it asked. */
  const applyAt = async (nowMs: number) => {
    const from = at(track.positions, 0);
    const value = Buffer.from(JSON.stringify({ ...TICK, id: `t${from}` }));
    await produce(brokers, own, [{ key: "k", value }]);
    const [fetched] = await log.fetch(own, new Map([[0, from]]), { maxWaitMs: 5_000, maxBytes: 1_000_000 });
    await decoder.decode([fetched as FetchedPartition]);
    const batch = { ...reader.read([everything], "small"), fetched: [fetched as FetchedPartition], topicId: info.id };
    await (await track.prepare(batch, nowMs))?.();
    return { cells: (await chain.load())?.cells, asked };
  };
  const { cells: each = 0 } = await applyAt(0);
  expect(each).toBeGreaterThan(0);
  maxCells = each * 3;
  await chain.seal(null);
  const genesis = await beginGeneration(stores, generation, own, "test");
  const nowMs = genesis.createdAtMs;
  expect(await applyAt(nowMs)).toEqual({ cells: 2 * each, asked: 1 });
  // The first record is in a version now: the cells that are in none are a third of what there may be.
  expect(await stores.manifests.create({ ...genesis, version: 1, cut: { 0: "1" } })).toBe(true);
  expect(await applyAt(nowMs + 4_900)).toEqual({ cells: 2 * each, asked: 1 });
  expect(await applyAt(nowMs + 6_000)).toEqual({ cells: each, asked: 1 });
  await chain.seal(null);
  expect(await applyAt(nowMs + 8_000)).toEqual({ cells: 2 * each, asked: 2 });
  await chain.drop();
  duck.closeSync();
});
