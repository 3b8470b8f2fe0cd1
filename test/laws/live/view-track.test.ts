import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { generationOf } from "../../../core/definition/generation.ts";
import type { Manifest } from "../../../core/log/documents.ts";
import { at, type Position, position } from "../../../core/log/position.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { speedMetrics } from "../../../speed-layer/metrics.ts";
import { BatchReader, type BatchStates } from "../../../speed-layer/states/batch-states.ts";
import { type TrackDeps, ViewTrack } from "../../../speed-layer/view-track.ts";
import { Archive } from "../../../store/archive/archive.ts";
import { beginGeneration } from "../../../store/archive/generation-start.ts";
import { Manifests } from "../../../store/archive/manifests.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { type Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { ensureTopics } from "../../../store/kafka/cluster/topics.ts";
import { type FetchedPartition, LogReader } from "../../../store/kafka/read/log.ts";
import { Chain } from "../../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { produce } from "../../fixtures/events/produce.ts";
import { everything, type Tick, ticks } from "../../fixtures/events/views.ts";
import { liveState } from "../../fixtures/oracles/served-cells.ts";
import { NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";
import { copyOf } from "../../fixtures/servers/redis-copy.ts";

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

interface Place {
  /** Of its log. */
  readonly topic: string;
  /** Of its data directory, in the file's folder. */
  readonly folder: string;
}

/** One view on its way through a topic, with what decodes batches for it; a chain of its own unless one is given. */
class Tracked {
  readonly stores: { readonly manifests: Manifests; readonly archive: Archive; readonly log: LogReader };
  readonly chain: Chain;
  readonly track: ViewTrack;
  readonly decoder: Decoder;
  readonly #topic: string;
  readonly #topicId: string;
  readonly #reader: BatchReader;
  readonly #duck: Duck;

  private constructor(place: Place, topicId: string, duck: Duck, decoder: Decoder, deps: Partial<TrackDeps>) {
    const data = new DataDirectory(join(home, place.folder));
    this.stores = { manifests: new Manifests(data), archive: new Archive(data), log };
    this.chain = deps.chain ?? new Chain(redis, randomUUID(), generation);
    this.track = new ViewTrack({
      definition,
      newestManifest: () => this.newestManifest(),
      longArchive: async () => false,
      requireRedis: async () => undefined,
      askToSettle: async () => undefined,
      archiveTails: (id) => this.stores.archive.tails(place.topic, id),
      metrics: speedMetrics(new Registry()),
      logger: pino({ level: "silent" }),
      ...deps,
      chain: this.chain,
    });
    [this.#topic, this.#topicId, this.#duck, this.decoder] = [place.topic, topicId, duck, decoder];
    this.#reader = new BatchReader(decoder.statements, () => undefined);
  }

  /** A view that is attached. */
  static async open({ topic: of = topic, folder = "", ...deps }: Partial<TrackDeps & Place> = {}): Promise<Tracked> {
    const duck = await pool.connect();
    const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
    const { id } = await log.topic(of);
    const tracked = new Tracked({ topic: of, folder }, id, duck, decoder, deps);
    await tracked.attach();
    return tracked;
  }

  newestManifest(): Promise<Manifest> {
    return beginGeneration(this.stores, generation, this.#topic, "test");
  }

  async attach(): Promise<void> {
    const [info, bounds] = [await log.topic(this.#topic), await log.bounds(this.#topic)];
    await this.track.attach({ log, reads: log, topic: this.#topic, info, bounds, partitions: [0] }, 0);
  }

  /** What a fetch from the view's position gives. */
  async fetch(maxBytes = 1_000_000): Promise<FetchedPartition> {
    const [fetched] = await log.fetch(this.#topic, new Map([[0, this.position()]]), { maxWaitMs: 5_000, maxBytes });
    return fetched as FetchedPartition;
  }

  /** Decodes a batch, and returns how the view is applied; its states are known when `ready`. */
  async prepare(fetched: FetchedPartition, nowMs = 0, ready: Promise<unknown> = Promise.resolve()) {
    const read = this.#reader.read([everything], await this.decoder.decode([fetched]));
    const states: BatchStates["states"] = async (view, events) => {
      const known = await read.states(view, events);
      await ready;
      return known;
    };
    return { applying: this.track.prepare({ ...read, states, fetched: [fetched], topicId: this.#topicId }, nowMs) };
  }

  async apply(fetched: FetchedPartition, nowMs = 0): Promise<void> {
    const { applying } = await this.prepare(fetched, nowMs);
    await (await applying)?.();
  }

  position(): Position {
    return at(this.track.positions, 0);
  }

  /** Up to where Redis has it. */
  async applied(): Promise<Position> {
    return at((await this.chain.load())?.applied ?? new Map(), 0);
  }

  /** How many events were counted, by group. */
  async counted(): Promise<unknown[]> {
    const values = (await liveState(this.chain))?.open.flatMap((bucket) => bucket.values) ?? [];
    return values.filter(([field]) => field.startsWith(`${ROWS.name} `)).map(([, value]) => value);
  }

  async close(): Promise<void> {
    await this.chain.drop();
    this.#duck.closeSync();
  }
}

test("an answer that puts a view's position back while a batch is prepared loses nothing", async () => {
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line) => lines.push(line) });
  const tracked = await Tracked.open({ chain: new Chain(redis, namespace, generation), logger });
  expect(tracked.track.phase).toBe("live");
  const apply = async (prepared: { applying: Promise<(() => Promise<void>) | null> }) => {
    const application = await prepared.applying;
    expect(application).not.toBeNull();
    await application?.();
  };

  lines.splice(0); // of the chain's beginning
  const asItWas = await copyOf(redis, namespace);
  await apply(await tracked.prepare(await grow(0n)));
  expect(await tracked.applied()).toBe(3n);
  const second = await tracked.prepare(await grow(3n));
  await second.applying;
  // Redis comes back as it was before the first batch; the second learns it while the third is being prepared.
  await asItWas();
  const release = new AbortController();
  const third = await tracked.prepare(await grow(6n), 0, once(release.signal, "abort"));
  await apply(second);
  expect(tracked.position()).toBe(0n);
  release.abort();
  await apply(third);
  expect(await tracked.applied()).toBe(0n);
  expect(tracked.position()).toBe(0n);
  const refused = { stream: "ticks", view: everything.name, stored: { 0: "0" } };
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { ...refused, spans: [{ partition: 0, from: "3", to: "6" }] },
    { ...refused, spans: [{ partition: 0, from: "6", to: "9" }] },
  ]);

  await tracked.decoder.forget([0]);
  await apply(await tracked.prepare(await fetch(0n, 9n)));
  expect(await tracked.applied()).toBe(9n);
  expect(await tracked.counted()).toEqual([9n]);
  await tracked.close();
});

test("a batch is compared with the log where it begins, also when the view is put back while Redis is asked", async () => {
  let inBetween = async () => {};
  class Asked extends Chain {
    override async reached(): ReturnType<Chain["reached"]> {
      await inBetween();
      return super.reached();
    }
  }
  const own = `${randomUUID()}.ticks`;
  const place = { topic: own, folder: "compared" };
  await ensureTopics(brokers, [{ name: own, partitions: 1 }]);
  const records = Array.from({ length: 3 }, (_, n) => ({ key: `k${n}`, value: Buffer.from("{}") }));
  await produce(brokers, own, records);
  const tracked = await Tracked.open({ ...place, chain: new Asked(redis, own, generation) });
  const other = () => Tracked.open({ ...place, chain: new Chain(redis, own, generation) });
  const asItWas = await copyOf(redis, own);
  const [first, second] = [await tracked.fetch(), await other()];
  const inFlight = [await (await tracked.prepare(first)).applying];
  await second.apply(first);
  await produce(brokers, own, records);
  const next = await tracked.fetch();
  inFlight.push(await (await tracked.prepare(next)).applying);
  // Another process was faster: the view stands where Redis does, and does not know the record before.
  await inFlight[0]?.();
  expect(tracked.position()).toBe(3n);

  // Redis comes back as it was, which the view learns from an answer, and others bring it to where the batch begins.
  const bounds = vi.spyOn(log, "bounds");
  let before = 0;
  inBetween = async () => {
    await asItWas();
    await inFlight[1]?.();
    expect(tracked.position()).toBe(0n);
    await (await other()).apply(first);
    before = bounds.mock.calls.length;
  };
  await tracked.decoder.forget([0]);
  await (await tracked.prepare(Object.assign(next, { leaderEpoch: next.leaderEpoch + 1 }))).applying;
  expect(bounds.mock.calls.length).toBe(before + 1);
  bounds.mockRestore();
  await tracked.close();
});

test("a data directory that is older than Redis, as after a restore, is where the view begins again", async () => {
  const chain = new Chain(redis, randomUUID(), generation);
  // Redis knows of version 120, at a cut that the directory does not have.
  expect(await chain.reseed(new Map([[0, position(5n)]]), 120, null)).toBe(true);
  const tracked = await Tracked.open({ chain });
  expect(tracked.track.phase).toBe("live");
  expect(await chain.load()).toMatchObject({ pointer: 0, applied: new Map([[0, 0n]]) });
  await tracked.close();
});

test("a new leader of a partition whose log was deleted since the view attached stops no view", async () => {
  const own = `${randomUUID()}.ticks`;
  await ensureTopics(brokers, [{ name: own, partitions: 1 }]);
  const records = Array.from({ length: 3 }, (_, n) => ({ key: `k${n}`, value: Buffer.from("{}") }));
  await produce(brokers, own, records);
  const tracked = await Tracked.open({ topic: own, folder: "leader" });
  await tracked.apply(await tracked.fetch());
  expect(tracked.position()).toBe(3n);

  await produce(brokers, own, records);
  const admin = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.fetchTopicOffsets(own); // or kafkajs does not know the topic's leaders
  await admin.deleteTopicRecords({ topic: own, partitions: [{ partition: 0, offset: "3" }] });
  await admin.disconnect();
  const next = await tracked.fetch();
  await tracked.apply(Object.assign(next, { leaderEpoch: next.leaderEpoch + 1 }));
  expect([tracked.track.error, tracked.track.phase, tracked.position()]).toEqual([null, "live", 6n]);
  await tracked.close();
});

test("a batch that was decoded before a version was published is applied, and the view is attached again where it ends", async () => {
  const tracked = await Tracked.open();
  const state = () => [tracked.track.phase, tracked.track.waits([0], 0)];
  const first = await (await tracked.prepare(await tracked.fetch(1))).applying;
  await tracked.chain.publish(1);
  await first?.();
  expect(state()).toEqual(["live", true]);
  await tracked.apply(await tracked.fetch(1));
  expect(await tracked.applied()).toBe(2n);
  await tracked.attach();
  expect([...state(), tracked.position()]).toEqual(["live", false, 2n]);
  await tracked.apply(await tracked.fetch());
  expect(await tracked.counted()).toEqual([9n]);
  await tracked.close();
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
  const fetched = await fetch(0n, 9n);
  const applyTo = async (message: string) => {
    const chain = new Chain(answering(redis, message), randomUUID(), generation);
    const tracked = await Tracked.open({ chain });
    await tracked.apply(fetched).finally(() => tracked.close());
    return tracked.track;
  };
  const stopped = await applyTo("ERR tideline: bad pick");
  expect([stopped.phase, stopped.error?.code]).toEqual(["stopped", "APPLY_REFUSED"]);
  await expect(applyTo("OOM command not allowed when used memory > 'maxmemory'.")).rejects.toThrow("OOM");
  await expect(applyTo("LOADING Redis is loading the dataset in memory")).rejects.toThrow("LOADING");
});

test("where cells pile up, those that a version has go at once, and only the others ask for one", async () => {
  const own = `${randomUUID()}.ticks`;
  await ensureTopics(brokers, [{ name: own, partitions: 1 }]);
  let [asked, maxCells] = [0, 1_000_000];
  const tracked = await Tracked.open({
    topic: own,
    folder: "room",
    definition: {
      ...definition,
      get view() {
        return { ...everything, maxCells };
      },
    },
    askToSettle: async () => {
      asked += 1;
    },
  });
  const { chain, stores } = tracked;
  /** Applies one more record at a time of the clock. Returns how many cells there are, and how often it asked. */
  const applyAt = async (nowMs: number) => {
    const value = Buffer.from(JSON.stringify({ ...TICK, id: `t${tracked.position()}` }));
    await produce(brokers, own, [{ key: "k", value }]);
    await tracked.apply(await tracked.fetch(), nowMs);
    return { cells: (await chain.load())?.cells, asked };
  };
  const { cells: each = 0 } = await applyAt(0);
  expect(each).toBeGreaterThan(0);
  maxCells = each * 3;
  await chain.seal(null);
  const genesis = await tracked.newestManifest();
  expect(await applyAt(0)).toEqual({ cells: 2 * each, asked: 1 });
  // The first record is in a version now: the cells that are in none are a third of what there may be.
  expect(await stores.manifests.create({ ...genesis, version: 1, cut: new Map([[0, position(1)]]) })).toBe(true);
  expect(await applyAt(2_000)).toEqual({ cells: each, asked: 1 });
  await chain.seal(null);
  expect(await applyAt(8_000)).toEqual({ cells: 2 * each, asked: 2 });
  await tracked.close();
});
