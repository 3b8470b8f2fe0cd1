import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type fc from "fast-check";
import { pino } from "pino";
import { Registry } from "prom-client";
import type { BatchStores, ViewTarget } from "../../../batch-layer/stores.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { TidelineError } from "../../../core/errors.ts";
import { addLedgers, EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import {
  at,
  type Cut,
  cutFromJson,
  cutReached,
  cutsEqual,
  cutToJson,
  type Position,
  partitionsOf,
  ZERO,
} from "../../../core/log/position.ts";
import { ANSWER_LIMITS } from "../../../core/query/budget.ts";
import type { History } from "../../../serving/read/history.ts";
import type { ReadAnswer } from "../../../serving/read/reader.ts";
import type { Lane } from "../../../speed-layer/lane.ts";
import type { SpeedMetrics } from "../../../speed-layer/metrics.ts";
import type { ViewTrack } from "../../../speed-layer/view-track.ts";
import type { Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import type { Chain } from "../../../store/redis/chain.ts";
import type { TidelineRedis } from "../../../store/redis/redis.ts";
import { NO_SCHEMAS } from "../../fetched.ts";
import { differenceOf, expectedRows, type OracleLog, type OracleRecord, rowKey, type Twin } from "../../oracle.ts";
import { type Drop, drops, PARTITIONS, questions, tide } from "./drops.ts";
import { memoryFiles } from "./memory-files.ts";
import { MemoryLog } from "./memory-log.ts";
import type { Protocol } from "./modules.ts";
import {
  BATCH,
  type Event,
  FOLDER,
  NO_TROUBLES,
  type Plan,
  READERS,
  type Restore,
  type RewritePlan,
  type Sent,
  SPEED,
  type Trouble,
  type Troubles,
} from "./plan.ts";
import { type GatedCall, PlannedFailure, Process } from "./process.ts";
import { Run } from "./run.ts";
import { SavedDirectories } from "./saved-directories.ts";
import { Schedule } from "./schedule.ts";

/** Servers and program that worlds are made in, one after the other. */
export class Shore {
  readonly protocol: Protocol;
  readonly redis: TidelineRedis;
  readonly pool: DuckPool;
  readonly metrics: SpeedMetrics;
  readonly root: string;

  private constructor(protocol: Protocol, redis: TidelineRedis, pool: DuckPool, root: string) {
    this.protocol = protocol;
    this.redis = redis;
    this.pool = pool;
    this.root = root;
    this.metrics = protocol.speedMetrics(new Registry());
  }

  /** `redisUrl` names a database of Redis that is emptied for every world. */
  static async open(protocol: Protocol, redisUrl: string): Promise<Shore> {
    const root = await mkdtemp(join(tmpdir(), "tideline-worlds-"));
    const pool = await protocol.DuckPool.open({
      threads: 1,
      memoryLimitMb: 512,
      directories: [root],
      keepsPlans: true,
    });
    return new Shore(
      protocol,
      protocol.openRedis(redisUrl, () => undefined),
      pool,
      root,
    );
  }

  async close(): Promise<void> {
    await this.redis.flushdb();
    this.redis.disconnect();
    this.pool.close();
    await rm(this.root, { recursive: true, force: true });
  }
}

const generation = generationOf(tide);
const target: ViewTarget = { stream: drops, view: tide, generation, topic: drops.name };
const definition = { view: tide, generation, file: "test" };
const SECOND_READER = "read-second";
const STOPPED = new TidelineError("VIEW_FAILED", "stopped by the plan", "none");
/** Where the second view of the lanes has its chain. */
const SECOND = "second";
/** How far the clock moves with every event where there is a second view: it is stopped for 30 s. */
const EVENT_MS = 12_000;
const logger = pino({ level: "silent" });
const BEGIN_MS = Date.parse("2026-01-01T00:00:00Z");
const FRESH: Sent = { kind: "fresh", back: 1, hour: 0, shore: "north", colour: "red", hidden: false };
/** So many gates are opened while it is watched that a view stays stopped. */
const WATCHED_GATES = 120;
/** So many gates may be opened, once the faults have stopped, until all is applied, published and answered. */
const QUIET_GATES = 1_500;
const LIMITS = { ...ANSWER_LIMITS, cells: 10_000 };

/** A log that answers may be of. */
interface OracleState {
  readonly records: OracleLog;
  readonly stable: Cut;
}

type PartitionLog = readonly OracleRecord[];

/** What came of a world whose log was written anew. */
interface Rewritten {
  /** Whether something had been archived that the log lost. */
  readonly archived: boolean;
  /** Who was stopped with LOG_TRUNCATED before the log was accepted. */
  readonly stops: ReadonlySet<string>;
  readonly answers: number;
}

/**
 * One log, Redis and data directory, and the processes that work on them with the program's own code, on one machine and under one scheduler.
 * Every answer is compared with a plain fold of the log at the answer's own position.
 */
export class World {
  readonly #shore: Shore;
  readonly #plan: Plan;
  readonly #troubles: Troubles;
  readonly #schedule: Schedule;
  readonly #folder: string;
  readonly #log = new MemoryLog();
  readonly #documents = new Map<string, string>();
  readonly #running = new Map<string, Process>();
  /** The second views of the running speed processes. */
  readonly #seconds = new Map<string, ViewTrack>();
  readonly #ids = new Map<number, string[]>(PARTITIONS.map((partition) => [partition, []]));
  readonly #ducks: Duck[] = [];
  readonly #saves: Map<string, Buffer>[] = [];
  readonly #directories: SavedDirectories;
  readonly #restores: readonly Restore[];
  /** Refreshes under way, by the process that works on them. */
  readonly #runs = new Map<string, Run>();
  #sent = 0;
  #fetches = 0;
  #clockMs = BEGIN_MS;
  #violation: Error | null = null;
  /** What an answer may be of. */
  #logs: (cut: Cut) => readonly OracleState[] = () => [this.#present()];
  /** Processes that LOG_TRUNCATED has ended since the log was written anew; null before, when it may not. */
  #stops: string[] | null = null;
  /** Each is right. */
  readonly answers: ReadAnswer[] = [];
  /** How often a version was published, and the data directory restored. */
  published = 0;
  restored = 0;
  /** Of the second view: right too. */
  readonly #secondAnswers: ReadAnswer[] = [];

  private constructor(
    shore: Shore,
    [plan, troubles, restores]: [Plan, Troubles, readonly Restore[]],
    scheduler: fc.Scheduler,
    folder: string,
  ) {
    this.#shore = shore;
    this.#plan = plan;
    this.#troubles = troubles;
    this.#restores = restores;
    this.#directories = new SavedDirectories(folder, this.#documents);
    this.#schedule = new Schedule(scheduler);
    this.#folder = folder;
  }

  /** Runs a plan to its end. Throws on an answer that is wrong, on an error that no fault explains, and when the world does not recover. */
  static async run(
    shore: Shore,
    plan: Plan,
    scheduler: fc.Scheduler,
    { troubles = NO_TROUBLES, restores = [] }: { troubles?: Troubles; restores?: readonly Restore[] } = {},
  ): Promise<World> {
    const folder = await mkdtemp(join(shore.root, "world-"));
    const world = new World(shore, [plan, troubles, restores], scheduler, folder);
    await shore.redis.flushdb();
    try {
      await world.#storm();
      await world.#calm();
    } catch (error) {
      const trace = world.#schedule.trace.slice(-60).join("\n  ");
      throw new Error(`${(error as Error).message}\nafter\n  ${trace}`, { cause: error });
    } finally {
      await world.#end();
      await world.#directories.close();
      await rm(folder, { recursive: true, force: true });
    }
    return world;
  }

  /** Ends everything: DuckDB's connections once they have nothing to do. */
  async #end(): Promise<void> {
    for (const process of this.#running.values()) process.kill();
    await this.#schedule.calm();
    for (const duck of this.#ducks) duck.closeSync();
  }

  /**
   * A world whose log loses its end in between, and has other records there. Every answer is the fold of the log as it was or of the log as it
   * is, never of both; of the log as it was alone when its version holds something that is gone. Then somebody accepts the log, and answers
   * become the fold of what was archived and the log as it is from there on.
   */
  static async rewritten(shore: Shore, plan: RewritePlan, scheduler: fc.Scheduler): Promise<Rewritten> {
    const folder = await mkdtemp(join(shore.root, "world-"));
    const world = new World(shore, [plan, NO_TROUBLES, []], scheduler, folder);
    await shore.redis.flushdb();
    try {
      await world.#storm();
      return await world.#rewrite(plan);
    } catch (error) {
      const trace = world.#schedule.trace.slice(-60).join("\n  ");
      throw new Error(`${(error as Error).message}\nafter\n  ${trace}`, { cause: error });
    } finally {
      await world.#end();
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #rewrite({ quiet, lost, instead, afterwards }: RewritePlan): Promise<Rewritten> {
    const [partition] = PARTITIONS;
    for (let gate = 0; gate < quiet && (await this.#archived(partition)) < at(this.#log.stable, partition); gate++)
      await this.#step();
    await this.#schedule.calm();
    const was = { records: this.#log.committed().get(partition) ?? [], stable: at(this.#log.stable, partition) };
    const before = () => this.#present(partition, was);
    const end = this.#log.end(partition);
    const from = this.#log.lose(partition, lost);
    const archived = await this.#archived(partition);
    for (const records of instead) this.#log.append(partition, this.#values(partition, records));
    this.#schedule.note(`--- the log loses [${from}, ${end}), and goes on to ${this.#log.end(partition)}`);
    // A process that slept through the loss goes on in the new log until its next check, above a version that holds nothing of what is lost.
    const keeps = (cut: Cut) => archived > from && at(cut, partition) > from;
    this.#logs = (cut) => (keeps(cut) ? [before()] : [before(), this.#present()]);
    this.#stops = [];
    await this.#play(afterwards);
    // The log grows beyond what was archived, so that all can see what it has become.
    while (this.#log.end(partition) < end) this.#log.append(partition, this.#values(partition, [FRESH]));
    this.#log.append(partition, this.#values(partition, [FRESH]));
    this.#log.settle();
    for (const name of [SPEED[0], BATCH[0]]) {
      this.#running.get(name)?.kill();
      this.#start(name);
    }
    for (let gate = 0; gate < WATCHED_GATES; gate++) await this.#step();
    const stops = new Set(this.#stops);
    await this.#accept(was.records, partition);
    await this.#calm();
    return { archived: archived > from, stops, answers: this.answers.length };
  }

  /** Where the archive of a partition ends. */
  async #archived(partition: number): Promise<Position> {
    const { protocol } = this.#shore;
    const archive = new protocol.Archive(memoryFiles(protocol, this.#folder, this.#documents));
    return (await archive.tail(target.topic, this.#log.topicId, partition))?.position ?? ZERO;
  }

  /** Does what the command does while everybody works, and again when they have been killed: somebody may have slept in between. */
  async #accept(was: PartitionLog, partition: number): Promise<void> {
    const before = this.#logs;
    this.#logs = (cut) => [...before(cut), this.#accepted(was, partition)];
    for (const everybody of [true, false]) {
      if (!everybody) for (const process of this.#running.values()) process.kill();
      await this.#schedule.calm();
      let done = false;
      const accepting = this.#acceptOnce();
      accepting
        .catch(() => undefined)
        .finally(() => {
          done = true;
        });
      for (await this.#schedule.calm(); !done; await this.#schedule.calm()) await this.#step();
      await accepting;
    }
    this.#logs = () => [this.#accepted(was, partition)];
  }

  async #acceptOnce(): Promise<void> {
    const { protocol, redis } = this.#shore;
    const operator = new Process("operator", this.#schedule);
    const chains = [new protocol.Chain(operator.redis(redis), "", generation)];
    await protocol.acceptLog(this.#stores(operator), target.topic, chains, { by: "test" });
  }

  /** The log as it was, and from where it was accepted on as it is. */
  #accepted(was: PartitionLog, partition: number): OracleState {
    const folder = `archive/${target.topic}/${partition}/continuations/`;
    const newest = [...this.#documents.keys()]
      .filter((name) => name.startsWith(folder))
      .sort()
      .at(-1);
    const { from } = JSON.parse(this.#documents.get(newest ?? "") ?? '{"from":"0"}') as { from: string };
    const now = this.#log.committed().get(partition) ?? [];
    const records = [
      ...was.filter(({ offset }) => offset < BigInt(from)),
      ...now.filter(({ offset }) => offset >= BigInt(from)),
    ];
    return this.#present(partition, { records, stable: at(this.#log.stable, partition) });
  }

  get gates(): number {
    return this.#schedule.passed;
  }

  /** Faults, one after the other, while everybody works. */
  async #storm(): Promise<void> {
    const also = this.#plan.with;
    const names = [
      ...SPEED.slice(0, also.speed ? 2 : 1),
      ...BATCH.slice(0, also.batch ? 2 : 1),
      ...READERS.slice(0, also.read ? 2 : 1),
      ...(also.fold ? [FOLDER] : []),
      ...(this.#troubles.second ? [SECOND_READER] : []),
    ];
    for (const name of names) this.#start(name);
    await this.#play(this.#plan.events);
  }

  async #play(events: Plan["events"]): Promise<void> {
    for (const [index, { after, event }] of events.entries()) {
      for (const { before, trouble } of this.#troubles.events) if (before === index) this.#trouble(trouble);
      for (let gate = 0; gate < after; gate++) await this.#step();
      this.#schedule.note(`--- ${shown(event)}`);
      await this.#schedule.calm();
      await this.#save();
      for (const restore of this.#restores) if (restore.before === index) await this.#restore(restore);
      await this.#happen(event);
    }
  }

  /** Keeps what Redis holds now, so that it can come back like that. */
  async #save(): Promise<void> {
    const { redis } = this.#shore;
    const keys = await redis.keys("*");
    const dumps = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
    this.#saves.push(new Map(keys.flatMap((key, index) => (dumps[index] ? [[key, dumps[index]]] : []))));
    if (this.#restores.length > 0) await this.#directories.save();
  }

  /** Stops everybody, brings the data directory back, and Redis where that is said, and starts everybody again. */
  async #restore({ back, redis: then, runsGoOn }: Restore): Promise<void> {
    const redis = typeof then === "string" ? then : `as it was ${then.back} events ago`;
    if (!this.#directories.has(back)) return;
    this.#schedule.note(`--- the data directory is as it was ${back} events ago, Redis ${redis}`);
    const names = [...this.#running.keys()];
    for (const process of this.#running.values()) process.kill();
    this.#running.clear();
    this.#seconds.clear();
    for (const [name, run] of this.#runs) this.#runs.set(name, run.goOnElsewhere());
    await this.#directories.restore(back);
    if (then === "empty") await this.#shore.redis.flushdb();
    if (typeof then !== "string") await this.#rollBack(then.back);
    this.restored += 1;
    for (const name of names) this.#start(name, runsGoOn);
  }

  /** Redis comes back as it was; nothing happens when it is not known how that was. */
  async #rollBack(events: number): Promise<void> {
    const { redis } = this.#shore;
    const save = this.#saves.at(-1 - events);
    if (save === undefined) return;
    await redis.flushdb();
    await Promise.all([...save].map(([key, dump]) => redis.restore(key, 0, dump)));
  }

  /** No more faults: all that is in the log is applied, published, and answered completely. */
  async #calm(): Promise<void> {
    this.#log.settle();
    for (const process of this.#running.values()) process.kill();
    this.#running.clear();
    const { speedGone } = this.#plan;
    this.#schedule.note(`--- quiet${speedGone ? ", and the speed layer is gone" : ""}`);
    const second = this.#troubles.second && !speedGone;
    for (const name of [...(speedGone ? [] : [SPEED[0]]), BATCH[0], READERS[0], ...(second ? [SECOND_READER] : [])])
      this.#start(name);
    const end = this.#log.stable;
    const limit = this.#schedule.passed + QUIET_GATES;
    const [before, secondBefore] = [this.answers.length, this.#secondAnswers.length];
    const isWhole = (answer: ReadAnswer | undefined) =>
      answer !== undefined && answer.missing === null && cutsEqual(answer.applied, end);
    for (;;) {
      await this.#step();
      const last = this.answers.slice(before).at(-1);
      const settled = last !== undefined && cutsEqual(last.cut, end) && (speedGone || isWhole(last));
      if (settled && (!second || isWhole(this.#secondAnswers.slice(secondBefore).at(-1)))) break;
      if (this.#schedule.passed > limit)
        throw new Error(
          `not live: the log ends at ${shownCut(end)}, ${last === undefined ? "no answer" : this.#standing(last)}`,
        );
    }
    await this.#checkVersions();
  }

  async #step(): Promise<void> {
    await this.#schedule.step();
    if (this.#violation !== null) throw this.#violation;
  }

  /** Starts a process; it goes on with what it was at when `runGoesOn`. */
  #start(name: string, runGoesOn = false): void {
    if (!runGoesOn) this.#runs.delete(name);
    const process = new Process(name, this.#schedule);
    this.#running.set(name, process);
    const work = name.startsWith("speed")
      ? this.#speed(process)
      : name.startsWith("batch")
        ? this.#batch(process)
        : name.startsWith("read")
          ? this.#read(process, name === SECOND_READER ? SECOND : "")
          : this.#fold(process);
    this.#watch(process, work);
  }

  #watch(process: Process, work: Promise<void>): void {
    const { name } = process;
    work.catch((error: unknown) => {
      if (!process.alive) return;
      if (this.#stops !== null && (error as { code?: string }).code === "LOG_TRUNCATED") {
        this.#stops.push(name);
        process.kill();
        this.#start(name);
        return;
      }
      this.#violation ??= new Error(`${name}: ${(error as Error).stack}`, { cause: error });
    });
  }

  async #happen(event: Event): Promise<void> {
    const { redis } = this.#shore;
    if (this.#troubles.second) this.#clockMs += EVENT_MS;
    switch (event.kind) {
      case "send":
        this.#log.append(event.partition, this.#values(event.partition, event.records));
        return;
      case "transaction": {
        const producer = BigInt(event.producer);
        this.#log.append(event.partition, this.#values(event.partition, event.records), producer);
        if (event.end !== "open") this.#log.finish(event.partition, producer, event.end === "commit");
        return;
      }
      case "kill": {
        const process = this.#running.get(event.who);
        process?.kill();
        if (process !== undefined) this.#start(event.who);
        return;
      }
      case "sleep":
        this.#running.get(event.who)?.sleep(event.gates);
        return;
      case "lose-reply":
        this.#running.get(event.who)?.loseReply();
        return;
      case "roll-back":
        return this.#rollBack(event.events);
      case "forget":
        await redis.flushdb();
    }
  }

  #trouble(trouble: Trouble): void {
    this.#schedule.note(`--- ${Object.values(trouble).join(" ")}`);
    if (trouble.kind === "stop") this.#seconds.get(trouble.who)?.stop(STOPPED, this.#clockMs);
    else this.#running.get(trouble.who)?.fail(trouble.what, trouble.after, trouble.times);
  }

  #values(partition: number, records: readonly Sent[]): (Buffer | null)[] {
    const ids = this.#ids.get(partition) ?? [];
    return records.map(({ kind, back, hour, shore, colour, hidden }) => {
      const number = ++this.#sent;
      const id = (kind === "repeat" ? ids.at(-back) : undefined) ?? `d${number}`;
      ids.push(id);
      if (kind === "empty") return null;
      if (kind === "broken") return Buffer.from(`{"id":"${id}`);
      const weight = kind === "refused" ? -1 : number * number;
      const drop: Drop = { id, at: BEGIN_MS + hour * 3_600_000 + number, shore, weight, colour, hidden };
      return Buffer.from(JSON.stringify(drop));
    });
  }

  #stores(process: Process, gated: GatedCall = () => false): BatchStores {
    const { protocol, pool } = this.#shore;
    const data = process.files(memoryFiles(protocol, this.#folder, this.#documents));
    const log = this.#log.source(
      protocol,
      process.logGate,
      () => this.#plan.fetches[this.#fetches++ % this.#plan.fetches.length] ?? 1,
      (waitMs) => {
        this.#clockMs += waitMs;
      },
    );
    return {
      data,
      archive: new protocol.Archive(data),
      manifests: new protocol.Manifests(data),
      log,
      schemas: NO_SCHEMAS as BatchStores["schemas"],
      pool: process.pool(pool, gated, (duck) => this.#ducks.push(duck)),
    };
  }

  #chain(process: Process, namespace = "") {
    // One of the two speed processes has room for a handful of cells in a script, so that nearly all of its batches go in parts.
    const partWork = process.name === SPEED[0] ? 12 : undefined;
    return new this.#shore.protocol.Chain(process.redis(this.#shore.redis), namespace, generation, partWork);
  }

  #track(process: Process, stores: BatchStores, namespace: string): ViewTrack {
    const { protocol, metrics } = this.#shore;
    return new protocol.ViewTrack({
      definition,
      chain: this.#chain(process, namespace),
      newestManifest: () => protocol.beginGeneration(stores, generation, target.topic, process.name),
      longArchive: async () => false,
      requireRedis: async () => undefined,
      askToSettle: async () => undefined,
      archiveTails: (topicId) => stores.archive.tails(target.topic, topicId),
      metrics,
      logger,
    });
  }

  async #speed(process: Process): Promise<void> {
    const stores = this.#stores(process, (method, sql) => method === "run" && /^SELECT .*events/.test(sql));
    const track = this.#track(process, stores, "");
    const second = this.#troubles.second ? this.#track(process, stores, SECOND) : null;
    if (second !== null) this.#seconds.set(process.name, second);
    const main = await this.#lane(process, stores, second === null ? [track] : [track, second], async (moved) => {
      const own = await this.#lane(process, stores, [], async () => undefined);
      main.tracks.delete(moved);
      own.tracks.add(moved);
      this.#watch(process, this.#readApart(process, own, main));
    });
    for (;;) {
      await this.#readOn(process, main);
      for (const { error } of [track, ...(second === null ? [] : [second])])
        if (error !== null && error !== STOPPED) throw error;
    }
  }

  async #lane(
    process: Process,
    stores: BatchStores,
    tracks: readonly ViewTrack[],
    moveOut: (track: ViewTrack) => Promise<void>,
  ): Promise<Lane> {
    const { protocol, metrics } = this.#shore;
    const wait = async (durationMs: number) => {
      await process.gate("waited");
      this.#clockMs += durationMs;
    };
    return protocol.Lane.open(
      {
        stream: drops,
        topic: target.topic,
        log: stores.log,
        duck: await stores.pool.connect(),
        deadLetters: { send: async () => undefined },
        dedup: stores,
        // Batches of two and more are full, so that fetching ahead is tried too.
        pacing: { ...protocol.PACING, fullBatchRecords: 2 },
        moveOut,
        clock: { nowMs: () => this.#clockMs, wait },
        metrics,
        logger,
      },
      tracks,
    );
  }

  /** A step of a lane, and what the speed layer does when a server does not answer. */
  async #readOn(process: Process, lane: Lane): Promise<void> {
    try {
      await lane.step(PARTITIONS);
    } catch (error) {
      if (!(error instanceof PlannedFailure)) throw error;
      lane.reset();
      await process.gate("pauses");
    }
  }

  /** A lane of one view, until that may join the others again. */
  async #readApart(process: Process, own: Lane, main: Lane): Promise<void> {
    while (own.tracks.size > 0) {
      await this.#readOn(process, own);
      for (const track of own.tracks) {
        if (track.phase !== "live" || !main.mayTakeIn(track)) continue;
        await own.drain();
        if (track.phase !== "live" || !main.mayTakeIn(track)) continue;
        own.tracks.delete(track);
        main.tracks.add(track);
      }
    }
  }

  /**
   * Refreshes, as the workflow does. A run that was under way when the data directory was restored may fail: the next
   * one begins with a fresh look.
   */
  async #batch(process: Process): Promise<void> {
    const stores = this.#stores(process);
    const chain = this.#chain(process);
    for (;;) {
      // One that slept while another was started in its place has runs of its own.
      const isCurrent = () => this.#running.get(process.name) === process;
      const run = (isCurrent() ? this.#runs.get(process.name) : undefined) ?? new Run();
      if (isCurrent()) this.#runs.set(process.name, run);
      let failed = false;
      try {
        await this.#refresh(process, stores, chain, run);
      } catch (error) {
        failed = true;
        const explained =
          error instanceof PlannedFailure || (run.wentOnElsewhere && (error as Error).name === "TidelineError");
        if (!explained) throw error;
      }
      if (isCurrent()) this.#runs.delete(process.name);
      if (failed) await process.gate("pauses");
    }
  }

  async #refresh(process: Process, stores: BatchStores, chain: Chain, run: Run): Promise<void> {
    const { protocol } = this.#shore;
    const { UNWATCHED } = protocol;
    const patience = { waitMs: 0, pollMs: 0, redisMs: 60_000 };
    const base = await run.step(() => protocol.beginGeneration(stores, generation, target.topic, process.name));
    const from = cutFromJson(base.cut);
    const before = { version: base.version, cut: from };
    const sealed = await run.step(() => protocol.sealCut(stores, target, chain, before, UNWATCHED, patience));
    if (sealed === null) return;
    const to = sealed.cut;
    for (;;) {
      const plan = await run.step(() => protocol.planStream(stores, target, cutToJson(to)));
      const [chunk] = plan.chunks;
      if (chunk === undefined) break;
      const limits = { fetchBytes: 1, fileBytes: 1 << 20 };
      await run.step(() => protocol.archiveChunk(stores, target, plan.topicId, chunk, UNWATCHED, limits));
    }
    const version = base.version + 1;
    const span = { topicId: base.topicId, from, to };
    const folder = stores.manifests.stateFolder(generation);
    const prefix = protocol.versionPrefix(version);
    const delta = await run.step(async () => {
      const written = await protocol.writeDelta(stores, target, span, folder, prefix, UNWATCHED);
      await protocol.checkDelta(stores, target, chain, { from, to, ...written });
      return written;
    });
    const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const publication = { version: base.version, from, to, file: delta.file, ledger, createdBy: process.name };
    if (!(await run.step(() => protocol.publishDelta(stores, target, publication)))) return;
    this.published += 1;
    await run.step(() => protocol.finishPublish(stores, target, chain, version));
    const limits = { files: 2, left: 1 };
    const folded = await run.step(() => protocol.compact(stores, target, process.name, UNWATCHED, limits));
    if (folded !== null) await run.step(() => protocol.finishPublish(stores, target, chain, folded.version));
    for (let rest = 0; rest < 8; rest++) await process.gate("rests");
  }

  /** Seals for size and folds, as a busy speed layer does. */
  async #fold(process: Process): Promise<void> {
    const { protocol } = this.#shore;
    const chain = this.#chain(process);
    for (;;) {
      for (let rest = 0; rest < 4; rest++) await process.gate("rests");
      await chain.seal(null);
      const state = await chain.load();
      const segments = state === null ? null : protocol.foldable(state, 2);
      if (segments !== null) await protocol.fold(chain, tide, segments);
    }
  }

  async #read(process: Process, namespace = ""): Promise<void> {
    const { protocol, redis } = this.#shore;
    const { data, manifests, pool } = this.#stores(process, (method) => method === "stream");
    const gate = new protocol.RedisGate(process.redis(redis));
    const ducks = await protocol.DuckQueue.open(pool, { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
    const reader = new protocol.Reader({
      standings: new protocol.Standings({
        manifests,
        gate,
        namespace,
        redisTimeoutMs: 60_000,
        now: () => this.#clockMs,
      }),
      batch: new protocol.BatchStates(data, ducks, { maxCachedCells: 10_000, limits: LIMITS }),
      segments: new protocol.SegmentCache(gate, 10_000),
      history: null as unknown as History,
      limits: LIMITS,
    });
    const held = questions.map((): ReadAnswer | null => null);
    for (;;) {
      for (const [index, { query, twin }] of questions.entries()) {
        await process.gate("asks");
        const answer = await reader.answer(definition, query, null, held[index]).catch((error: unknown) => {
          if ((error as { code?: string }).code === "NOT_READY") return null;
          throw error;
        });
        if (answer !== null) {
          this.#check(answer, twin);
          (namespace === "" ? this.answers : this.#secondAnswers).push(answer);
        }
        held[index] = answer;
      }
    }
  }

  /** Is an answer the fold of the log at its own position? */
  #check(answer: ReadAnswer, twin: Twin<Drop>): void {
    if (answer.missing !== null && !cutsEqual(answer.applied, answer.cut))
      throw new Error(`incomplete and not at its cut: ${this.#standing(answer)}`);
    const wrong = this.#logs(answer.cut).map((log) => this.#differences(answer, twin, log));
    const [first = []] = wrong;
    if (wrong.every(({ length }) => length > 0))
      throw new Error(`wrong: ${this.#standing(answer)}\n  ${first.join("\n  ")}`);
  }

  /** The log as it is, but for a partition that is given. */
  #present(partition?: number, other?: { readonly records: PartitionLog; readonly stable: Position }): OracleState {
    const [records, stable] = [new Map(this.#log.committed()), new Map(this.#log.stable)];
    if (partition !== undefined && other !== undefined) {
      records.set(partition, other.records);
      stable.set(partition, other.stable);
    }
    return { records, stable };
  }

  #differences(answer: ReadAnswer, twin: Twin<Drop>, { records, stable }: OracleState): string[] {
    if (!cutReached(answer.applied, answer.cut) || !cutReached(stable, answer.applied))
      return ["no position that there is"];
    const expected = expectedRows(twin, records, answer.applied);
    const wrong: string[] = [];
    for (const row of answer.rows) {
      const key = rowKey(Date.parse(String(row.bucket)), [String(row.shore)]);
      const want = expected.get(key);
      expected.delete(key);
      const differs = want === undefined ? "no such row" : differenceOf(row, want);
      const colours = want?.seen.colours?.size;
      if (differs !== "") wrong.push(`${key}: ${differs}`);
      else if (row.colours !== colours) wrong.push(`${key}: colours: ${row.colours}, not ${colours}`);
    }
    for (const key of expected.keys()) wrong.push(`${key}: missing`);
    return wrong;
  }

  /** Versions follow each other without gap or overlap, and a cut never moves back. */
  async #checkVersions(): Promise<void> {
    const { protocol } = this.#shore;
    const manifests = new protocol.Manifests(memoryFiles(protocol, this.#folder, this.#documents));
    const newest = await manifests.newest(generation);
    for (let version = 1; version <= (newest?.version ?? 0); version++) {
      const [before, manifest] = [
        await manifests.version(generation, version - 1),
        await manifests.version(generation, version),
      ];
      if (before === null || manifest === null) throw new Error(`version ${version} is not there`);
      if (
        !cutsEqual(cutFromJson(before.cut), cutFromJson(manifest.base)) ||
        !cutReached(cutFromJson(manifest.cut), cutFromJson(manifest.base))
      )
        throw new Error(`version ${version} does not follow the one before`);
    }
  }

  #standing({ manifest, cut, applied, missing }: ReadAnswer): string {
    const state = missing === null ? "" : `, incomplete: ${missing.code}`;
    return `version ${manifest.version} at ${shownCut(cut)}, applied ${shownCut(applied)}${state}`;
  }
}

function shownCut(cut: Cut): string {
  return `[${partitionsOf(cut, new Map(PARTITIONS.map((partition) => [partition, at(cut, partition)])))
    .map((partition) => at(cut, partition))
    .join(" ")}]`;
}

function shown(event: Event): string {
  return event.kind === "send" || event.kind === "transaction"
    ? `${event.kind} ${event.records.length} to ${event.partition}${"end" in event ? `, ${event.end}` : ""}`
    : Object.values(event).join(" ");
}
