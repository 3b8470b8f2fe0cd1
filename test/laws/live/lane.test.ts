import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { type View, view } from "../../../core/definition/view.ts";
import { TidelineError } from "../../../core/errors.ts";
import type { Manifest } from "../../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { at, type Cut, position } from "../../../core/log/position.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { PACING } from "../../../speed-layer/fetches.ts";
import { Lane } from "../../../speed-layer/lane.ts";
import { type SpeedMetrics, speedMetrics } from "../../../speed-layer/metrics.ts";
import { ViewTrack } from "../../../speed-layer/view-track.ts";
import { Archive } from "../../../store/archive/archive.ts";
import { DuckPool } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { noLeader } from "../../../store/kafka/cluster/log-errors.ts";
import type { LogSource } from "../../../store/kafka/read/log.ts";
import { Chain } from "../../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { liveState } from "../../fixtures/oracles/served-cells.ts";
import { NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";
import { MemoryLog } from "../protocol/memory-log.ts";
import { loadProtocol, repository } from "../protocol/modules.ts";
import { parcels, weights } from "../protocol/parcels.ts";

/** Views of one lane at different positions, over a log in memory whose requests can be made to fail. */

let home: string;
let redis: TidelineRedis;
let pool: DuckPool;
let metrics: SpeedMetrics;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-lane-"));
  redis = openRedis(inject("redisUrl"), () => undefined);
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [home], keepsPlans: true });
  metrics = speedMetrics(new Registry());
});

afterAll(async () => {
  pool.close();
  await redis.quit();
  await rm(home, { recursive: true });
});

const logger = pino({ level: "silent" });

/** Fails at a record whose colour is not a number. */
const numbersOnly = view("weights", {
  stream: parcels,
  by: { place: sql`place` },
  every: "1 hour",
  measures: { total: sum(sql`CAST(colour AS BIGINT)`) },
});

/** A view of the lane. Its batch cut is what the test says, and so is whether there is a manifest at all. */
class LaneView {
  readonly chain = new Chain(redis, randomUUID(), "weights.test");
  readonly track: ViewTrack;
  cut = 0;
  failure: Error | null = null;
  askedToSettle = 0;
  /** Called when its manifest is asked for, and waited for. */
  asked: () => Promise<void> = async () => undefined;

  constructor(view: View, topicId: string) {
    const manifest = (): Manifest => ({
      generation: "weights.test",
      version: 1,
      base: new Map(),
      cut: new Map([[0, position(this.cut)]]),
      files: [],
      ledger: EMPTY_LEDGER,
      topicId,
      createdBy: "test",
      createdAtMs: 0,
    });
    this.track = new ViewTrack({
      definition: { view, generation: "weights.test", file: "test" },
      chain: this.chain,
      newestManifest: async () => {
        await this.asked();
        if (this.failure !== null) throw this.failure;
        return manifest();
      },
      longArchive: async () => false,
      requireRedis: async () => undefined,
      askToSettle: async () => {
        this.askedToSettle += 1;
      },
      archiveTails: async () => new Map(),
      metrics,
      logger,
    });
  }

  /** How many events it has counted. */
  async counted(): Promise<bigint> {
    const cells = (await liveState(this.chain))?.open.flatMap(({ values }) => values) ?? [];
    const rows = cells.filter(([field]) => field.startsWith(`${ROWS.name} `));
    return rows.reduce((total, [, value]) => total + BigInt(value.toString()), 0n);
  }

  position(): bigint {
    return at(this.track.positions, 0);
  }
}

/** One partition, the requests made of it, and the lanes that read it. */
class Bay {
  readonly log = new MemoryLog();
  readonly views: readonly LaneView[];
  /** Where each fetch of the main lane began. */
  readonly asked: bigint[] = [];
  /** The lanes of views that have one of their own. */
  readonly own: Lane[] = [];
  nowMs = 0;
  failNextFetch = false;
  /** How often the log was read, for batches and to compare it. */
  fetches = 0;
  /** Partitions without a leader. */
  leaderless: readonly number[] = [];
  #main: Lane | null = null;

  constructor(views: readonly View[]) {
    this.views = views.map((view) => new LaneView(view, this.log.topicId));
  }

  async main(): Promise<Lane> {
    this.#main ??= await this.#open(this.asked);
    for (const { track } of this.#main.tracks.size === 0 ? this.views : []) this.#main.takeIn(track);
    return this.#main;
  }

  async #open(asked: bigint[]): Promise<Lane> {
    const gate = async (label: string) => {
      if (label === "fetch") this.fetches += 1;
      if (label !== "fetch" || !this.failNextFetch) return;
      this.failNextFetch = false;
      throw new Error("the broker hung up");
    };
    const read = this.log.source(
      await loadProtocol(repository),
      gate,
      () => 100,
      () => undefined,
    );
    const log: LogSource = {
      ...read,
      readableBounds: async (topic) => {
        const { start, stable } = await read.bounds(topic);
        const led = (bounds: Cut) => new Map([...bounds].filter(([partition]) => !this.leaderless.includes(partition)));
        return { start: led(start), stable: led(stable), leaderless: this.leaderless };
      },
      fetch: (topic, positions, limits) => {
        for (const partition of this.leaderless) if (positions.has(partition)) throw noLeader(topic, partition);
        // Attaching a view fetches one record too, to compare it with the view's mark.
        if (limits.maxBytes === PACING.batchBytes) asked.push(at(positions, 0));
        return read.fetch(topic, positions, limits);
      },
    };
    const data = new DataDirectory(home);
    const moveOut = async (track: ViewTrack) => {
      const own = await this.#open([]);
      lane.giveUp(track);
      own.takeIn(track);
      this.own.push(own);
    };
    const lane: Lane = await Lane.open(
      {
        stream: parcels,
        topic: parcels.name,
        log,
        duck: await pool.connect(),
        deadLetters: { send: async () => undefined },
        dedup: { archive: new Archive(data), data, log: read, schemas: NO_SCHEMAS as never },
        pacing: PACING,
        moveOut,
        clock: { nowMs: () => this.nowMs, wait: async () => undefined },
        metrics,
        logger,
      },
      [],
    );
    return lane;
  }

  send(...ids: readonly string[]): void {
    this.sendTo(0, ...ids);
  }

  sendTo(partition: number, ...ids: readonly string[]): void {
    this.log.append(
      partition,
      ids.map((id) => {
        const parcel = { id, at: 1_767_225_600_000, place: "north", weight: 1, colour: id, hidden: false };
        return Buffer.from(JSON.stringify(parcel));
      }),
    );
  }

  /** Steps until the live views of the main lane have read the log. */
  async catchUp(): Promise<void> {
    const lane = await this.main();
    const live = () => this.views.filter(({ track }) => lane.tracks.has(track) && track.phase === "live");
    do await lane.step([0]);
    while (live().some((view) => view.position() < this.log.end(0)));
    await lane.drain();
  }
}

test("a warm-up that fails is repeated before the partition is decoded again, also from the position that was held before", async () => {
  const bay = new Bay([weights, weights]);
  const [ahead, back] = bay.views as [LaneView, LaneView];
  bay.send("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9");
  await bay.catchUp();
  expect(await ahead.counted()).toBe(10n);
  const lane = await bay.main();

  // The other view has to begin again at 4, and the fetch that warms the memory for that fails.
  back.cut = 4;
  await back.chain.drop();
  back.track.detach();
  bay.failNextFetch = true;
  await expect(lane.step([0])).rejects.toThrow("hung up");
  lane.reset();
  expect(bay.failNextFetch).toBe(false);

  // It cannot be attached now, so that the lane continues at the position that it had.
  back.failure = new TidelineError("LOG_LOST", "gone", "none");
  bay.send("d8", "d10");
  await bay.catchUp();
  expect(back.track.phase).toBe("stopped");
  expect(await ahead.counted()).toBe(11n);
});

test("views that have to be attached again are so at the same time, and a record that they compare is read once", async () => {
  const fetchesWith = async (views: readonly View[]) => {
    const bay = new Bay(views);
    bay.send("d0", "d1", "d2");
    await bay.catchUp();
    // Each waits until all have been asked for.
    const [all, waiting] = [new AbortController(), new Set<LaneView>()];
    for (const one of bay.views)
      one.asked = async () => {
        if (waiting.add(one).size === bay.views.length) all.abort();
        if (!all.signal.aborted) await once(all.signal, "abort");
      };
    bay.fetches = 0;
    (await bay.main()).reset();
    bay.send("d3");
    await bay.catchUp();
    for (const one of bay.views) expect([one.track.phase, await one.counted()]).toEqual(["live", 4n]);
    return bay.fetches;
  };
  expect(await fetchesWith([weights, weights, weights, weights])).toBe(await fetchesWith([weights]));
});

test("a view that stopped looks again in a lane of its own: the main lane never fetches again what it has read", async () => {
  const bay = new Bay([weights, numbersOnly]);
  const [healthy, stopped] = bay.views as [LaneView, LaneView];
  bay.send("1", "2");
  await bay.catchUp();
  bay.send("no number", "3");
  await bay.catchUp();
  expect([healthy.position(), stopped.track.error?.code]).toEqual([4n, "VIEW_FAILED"]);
  const main = await bay.main();
  for (let round = 0; round < 3; round++) {
    bay.nowMs += 30_000;
    bay.send(`${round + 10}`);
    await bay.catchUp();
    expect(bay.own.length).toBe(1);
    await bay.own[0]?.step([0]);
    expect([stopped.track.phase, stopped.position()]).toEqual(["stopped", 2n]);
  }
  expect(main.tracks.has(stopped.track)).toBe(false);
  expect(bay.asked).toEqual(bay.asked.toSorted((a, b) => Number(a - b)));
  expect(await healthy.counted()).toBe(7n);
});

test("a view that was mended joins the main lane once it holds all that the main lane has read", async () => {
  const bay = new Bay([weights, weights]);
  const [healthy, mended] = bay.views as [LaneView, LaneView];
  bay.send("1", "2");
  await bay.catchUp();
  mended.track.stop(new TidelineError("VIEW_TOO_LARGE", "too large", "none"), bay.nowMs);
  bay.send("3", "4");
  await bay.catchUp();
  bay.nowMs += 30_000;
  await bay.catchUp();
  const [main, own] = [await bay.main(), bay.own[0]];
  expect([mended.track.phase, mended.position(), own?.tracks.has(mended.track)]).toEqual(["live", 2n, true]);
  expect(main.mayTakeIn(mended.track)).toBe(false);
  await own?.step([0]);
  await own?.drain();
  expect(main.mayTakeIn(mended.track)).toBe(true);
  // Not while the main lane looks its views up again: nobody knows then how far they are.
  main.reset();
  expect(main.mayTakeIn(mended.track)).toBe(false);
  await bay.catchUp();
  expect(main.mayTakeIn(mended.track)).toBe(true);
  expect([await healthy.counted(), await mended.counted()]).toEqual([4n, 4n]);
  expect(bay.asked).toEqual(bay.asked.toSorted((a, b) => Number(a - b)));
});

test("a partition without a leader is left out while the others are read, and read when it has one again", async () => {
  const bay = new Bay([weights]);
  const [view] = bay.views as [LaneView];
  bay.leaderless = [1];
  bay.send("d0", "d1");
  bay.sendTo(1, "d2", "d3", "d4");
  const lane = await bay.main();
  const step = async () => {
    await lane.step([0, 1]);
    await lane.step([0, 1]);
    await lane.drain();
  };
  await step();
  expect(view.track.phase).toBe("live");
  expect(await view.counted()).toBe(2n);

  // It is looked for a leader now and then; until that has come the others continue.
  bay.nowMs += 5_000;
  bay.send("d5");
  await step();
  expect(await view.counted()).toBe(3n);
  bay.leaderless = [];
  await step();
  expect(await view.counted()).toBe(3n);
  bay.nowMs += 5_000;
  await step();
  expect(await view.counted()).toBe(6n);
});

test("a batch is worked on while Redis takes the one before, also when another partition has nothing new, which is noted afterwards", async () => {
  const bay = new Bay([weights]);
  const [{ chain, track }] = bay.views as [LaneView];
  const lane = await bay.main();
  const touched: number[] = [];
  const [apply, touch] = [chain.applyBatch.bind(chain), chain.touch.bind(chain)];
  const opened = new AbortController();
  bay.send("d0");
  bay.sendTo(1, "d1");
  await lane.step([0, 1]);
  await lane.drain();
  chain.touch = async (fresh) => {
    touched.push(...fresh.keys());
    await touch(fresh);
  };
  chain.applyBatch = async (applications) => {
    if (!opened.signal.aborted) await once(opened.signal, "abort");
    return apply(applications);
  };
  bay.send("d2");
  bay.sendTo(1, "d3");
  await lane.step([0, 1]);
  bay.send("d4");
  const second = lane.step([0, 1]);
  await vi.waitFor(() => expect(at(track.positions, 0)).toBe(3n), { timeout: 10_000 });
  expect(touched).toEqual([]);
  opened.abort();
  await second;
  await lane.drain();
  expect(touched).toEqual([1]);
  expect((await chain.load())?.applied).toEqual(
    new Map([
      [0, 3n],
      [1, 2n],
    ]),
  );
});

/** A cell an event, and fewer than a batch may have. */
const narrow = view("weights", {
  stream: parcels,
  by: { colour: sql`colour` },
  every: "1 hour",
  measures: { total: sum(sql`weight`) },
  maxCells: 4,
});

test("a batch with more cells than its view may have stops that view by name, and it goes on behind the refresh that reads the batch", async () => {
  const bay = new Bay([narrow, weights]);
  const [small, other] = bay.views as [LaneView, LaneView];
  bay.send("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7");
  await bay.catchUp();
  expect(small.track.error).toMatchObject({
    code: "VIEW_TOO_LARGE",
    message: "weights: one batch alone has more cells than the view's maxCells",
    hint: expect.stringContaining("tideline worker"),
  });
  expect(small.askedToSettle).toBeGreaterThan(0);
  expect(await other.counted()).toBe(8n);

  // Behind the other view it looks again in a lane of its own.
  const settleAll = async () => {
    await bay.catchUp();
    for (const lane of bay.own) {
      await lane.step([0]);
      await lane.drain();
    }
  };
  bay.nowMs += 30_000;
  bay.send("d8");
  await settleAll();
  expect(small.track.phase).toBe("stopped");
  expect(await other.counted()).toBe(9n);

  // The refresh: it cuts at the log's end, because the speed layer does not move.
  small.cut = 9;
  bay.nowMs += 30_000;
  bay.send("d9", "d10");
  await settleAll();
  expect(small.track.phase).toBe("live");
  expect(await small.counted()).toBe(2n);
  expect(await other.counted()).toBe(11n);
});
