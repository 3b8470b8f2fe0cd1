import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type fc from "fast-check";
import { at, type Cut, cutsEqual, type Position, ZERO } from "../../../core/log/position.ts";
import type { ReadAnswer } from "../../../serving/read/reading.ts";
import { type Environment, generation, target } from "./environment.ts";
import { Judge, type PartitionLog, shownCut } from "./judge.ts";
import { memoryFiles } from "./memory-files.ts";
import { PARTITIONS, type Parcel } from "./parcels.ts";
import {
  BATCH,
  COMPACTOR,
  type Event,
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
import { Process } from "./process.ts";
import { SavedDirectories } from "./saved-directories.ts";
import { BEGIN_MS, SimulationState } from "./simulation-state.ts";
import { SECOND, STOPPED, Workers } from "./workers.ts";

const SECOND_READER = "read-second";
/** How far the clock moves with every event where there is a second view: it is stopped for 30 s. */
const EVENT_MS = 12_000;
const FRESH: Sent = { kind: "fresh", back: 1, hour: 0, place: "north", colour: "red", hidden: false };
/** This many gates are opened while it is watched that a view stays stopped. */
const WATCHED_GATES = 120;
/** This many gates may be opened, once the faults have stopped, until all is applied, published and answered. */
const QUIET_GATES = 1_500;

/** What came of a simulation whose log was rewritten. */
interface Rewritten {
  /** Whether something had been archived that the log lost. */
  readonly archived: boolean;
  /** Who was stopped with LOG_TRUNCATED before the log was accepted. */
  readonly stops: ReadonlySet<string>;
  readonly answers: number;
}

/**
 * One log, Redis and data directory, and the processes that work on them with the program's own code, on one machine
 * and under one scheduler. Every answer is compared with a plain fold of the log at the answer's own position.
 */
export class Simulation {
  readonly #state: SimulationState;
  readonly #judge: Judge;
  readonly #workers: Workers;
  readonly #ids = new Map<number, string[]>(PARTITIONS.map((partition) => [partition, []]));
  readonly #saves: Map<string, Buffer>[] = [];
  readonly #directories: SavedDirectories;
  readonly #restores: readonly Restore[];
  #sent = 0;
  #violation: Error | null = null;
  /** Processes that LOG_TRUNCATED has ended since the log was rewritten; null before, when it may not. */
  #stops: string[] | null = null;
  /** How often the data directory was restored. */
  restored = 0;

  private constructor(state: SimulationState, restores: readonly Restore[]) {
    this.#state = state;
    this.#restores = restores;
    this.#judge = new Judge(state);
    this.#workers = new Workers(state, this.#judge, (process, work) => this.#watch(process, work));
    this.#directories = new SavedDirectories(state.folder, state.documents);
  }

  /** Each is right. */
  get answers(): readonly ReadAnswer[] {
    return this.#judge.answers;
  }

  /** How often a version was published. */
  get published(): number {
    return this.#state.published;
  }

  /**
   * Runs a plan to its end. Throws on an answer that is wrong, on an error that no fault explains, and when the
   * simulation does not recover.
   */
  static async run(
    environment: Environment,
    plan: Plan,
    scheduler: fc.Scheduler,
    { troubles = NO_TROUBLES, restores = [] }: { troubles?: Troubles; restores?: readonly Restore[] } = {},
  ): Promise<Simulation> {
    const folder = await mkdtemp(join(environment.root, "simulation-"));
    const simulation = new Simulation(new SimulationState(environment, plan, troubles, scheduler, folder), restores);
    await environment.redis.flushdb();
    try {
      await simulation.#storm();
      await simulation.#calm();
    } catch (error) {
      const trace = simulation.#state.schedule.trace.slice(-60).join("\n  ");
      throw new Error(`${(error as Error).message}\nafter\n  ${trace}`, { cause: error });
    } finally {
      await simulation.#end();
      await simulation.#directories.close();
      await rm(folder, { recursive: true, force: true });
    }
    return simulation;
  }

  /** Ends everything: DuckDB's connections once they have nothing to do. */
  async #end(): Promise<void> {
    for (const process of this.#state.running.values()) process.kill();
    await this.#state.schedule.calm();
    for (const duck of this.#state.ducks) duck.closeSync();
  }

  /**
   * A simulation whose log loses its end in between, and has other records there. Every answer is the fold of the log
   * as it was or of the log as it is, never of both; of the log as it was alone when its version holds something that
   * is gone. Then somebody accepts the log, and answers become the fold of what was archived and the log as it is from
   * there on.
   */
  static async rewritten(environment: Environment, plan: RewritePlan, scheduler: fc.Scheduler): Promise<Rewritten> {
    const folder = await mkdtemp(join(environment.root, "simulation-"));
    const simulation = new Simulation(new SimulationState(environment, plan, NO_TROUBLES, scheduler, folder), []);
    await environment.redis.flushdb();
    try {
      await simulation.#storm();
      return await simulation.#rewrite(plan);
    } catch (error) {
      const trace = simulation.#state.schedule.trace.slice(-60).join("\n  ");
      throw new Error(`${(error as Error).message}\nafter\n  ${trace}`, { cause: error });
    } finally {
      await simulation.#end();
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #rewrite({ quiet, lost, instead, afterwards }: RewritePlan): Promise<Rewritten> {
    const [partition] = PARTITIONS;
    for (
      let gate = 0;
      gate < quiet && (await this.#archived(partition)) < at(this.#state.log.stable, partition);
      gate++
    )
      await this.#step();
    await this.#state.schedule.calm();
    const was = {
      records: this.#state.log.committed().get(partition) ?? [],
      stable: at(this.#state.log.stable, partition),
    };
    const before = () => this.#judge.present(partition, was);
    const end = this.#state.log.end(partition);
    const from = this.#state.log.lose(partition, lost);
    const archived = await this.#archived(partition);
    for (const records of instead) this.#state.log.append(partition, this.#values(partition, records));
    this.#state.schedule.note(`--- the log loses [${from}, ${end}), and goes on to ${this.#state.log.end(partition)}`);
    // A process that slept through the loss continues in the new log until its next check, above a version that holds
    // nothing of what is lost.
    const keeps = (cut: Cut) => archived > from && at(cut, partition) > from;
    this.#judge.logs = (cut) => (keeps(cut) ? [before()] : [before(), this.#judge.present()]);
    this.#stops = [];
    await this.#play(afterwards);
    // The log grows beyond what was archived, so that all can see what it has become.
    while (this.#state.log.end(partition) < end) this.#state.log.append(partition, this.#values(partition, [FRESH]));
    this.#state.log.append(partition, this.#values(partition, [FRESH]));
    this.#state.log.commitOpen();
    for (const name of [SPEED[0], BATCH[0]]) {
      this.#state.running.get(name)?.kill();
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
    const { protocol } = this.#state.environment;
    const archive = new protocol.Archive(memoryFiles(protocol, this.#state.folder, this.#state.documents));
    return (await archive.tail(target.topic, this.#state.log.topicId, partition))?.position ?? ZERO;
  }

  /**
   * Does what the command does while everybody works, and again when they have been killed: somebody may have slept in
   * between.
   */
  async #accept(was: PartitionLog, partition: number): Promise<void> {
    const before = this.#judge.logs;
    this.#judge.logs = (cut) => [...before(cut), this.#judge.accepted(was, partition)];
    for (const everybody of [true, false]) {
      if (!everybody) for (const process of this.#state.running.values()) process.kill();
      await this.#state.schedule.calm();
      let done = false;
      const accepting = this.#acceptOnce();
      accepting
        .catch(() => undefined)
        .finally(() => {
          done = true;
        });
      for (await this.#state.schedule.calm(); !done; await this.#state.schedule.calm()) await this.#step();
      await accepting;
    }
    this.#judge.logs = () => [this.#judge.accepted(was, partition)];
  }

  async #acceptOnce(): Promise<void> {
    const { protocol, redis } = this.#state.environment;
    const operator = new Process("operator", this.#state.schedule);
    const chains = [new protocol.Chain(operator.redis(redis), "", generation)];
    await protocol.acceptLog(this.#workers.stores(operator), target.topic, chains, { by: "test" });
  }

  get gates(): number {
    return this.#state.schedule.passed;
  }

  /** Faults, one after the other, while everybody works. */
  async #storm(): Promise<void> {
    const also = this.#state.plan.with;
    const names = [
      ...SPEED.slice(0, also.speed ? 2 : 1),
      ...BATCH.slice(0, also.batch ? 2 : 1),
      ...READERS.slice(0, also.read ? 2 : 1),
      ...(also.compact ? [COMPACTOR] : []),
      ...(this.#state.troubles.second ? [SECOND_READER] : []),
    ];
    for (const name of names) this.#start(name);
    await this.#play(this.#state.plan.events);
  }

  async #play(events: Plan["events"]): Promise<void> {
    for (const [index, { after, event }] of events.entries()) {
      for (const { before, trouble } of this.#state.troubles.events) if (before === index) await this.#trouble(trouble);
      for (let gate = 0; gate < after; gate++) await this.#step();
      this.#state.schedule.note(`--- ${shown(event)}`);
      await this.#state.schedule.calm();
      await this.#save();
      for (const restore of this.#restores) if (restore.before === index) await this.#restore(restore);
      await this.#happen(event);
    }
  }

  /** Keeps what Redis holds now, so that it can come back like that. */
  async #save(): Promise<void> {
    const { redis } = this.#state.environment;
    const keys = await redis.keys("*");
    const dumps = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
    this.#saves.push(new Map(keys.flatMap((key, index) => (dumps[index] ? [[key, dumps[index]]] : []))));
    if (this.#restores.length > 0) await this.#directories.save();
  }

  /** Stops everybody, brings the data directory back, and Redis where that is said, and starts everybody again. */
  async #restore({ back, redis: then, runsGoOn }: Restore): Promise<void> {
    const redis = typeof then === "string" ? then : `as it was ${then.back} events ago`;
    if (!this.#directories.has(back)) return;
    this.#state.schedule.note(`--- the data directory is as it was ${back} events ago, Redis ${redis}`);
    const names = [...this.#state.running.keys()];
    for (const process of this.#state.running.values()) process.kill();
    this.#state.running.clear();
    this.#state.seconds.clear();
    for (const [name, run] of this.#state.runs) this.#state.runs.set(name, run.goOnElsewhere());
    await this.#directories.restore(back);
    if (then === "empty") await this.#state.environment.redis.flushdb();
    if (typeof then !== "string") await this.#rollBack(then.back);
    this.restored += 1;
    for (const name of names) this.#start(name, runsGoOn);
  }

  /** Redis comes back as it was; nothing happens when it is not known how that was. */
  async #rollBack(events: number): Promise<void> {
    const { redis } = this.#state.environment;
    const save = this.#saves.at(-1 - events);
    if (save === undefined) return;
    await redis.flushdb();
    await Promise.all([...save].map(([key, dump]) => redis.restore(key, 0, dump)));
  }

  /** No more faults: all that is in the log is applied, published, and answered completely. */
  async #calm(): Promise<void> {
    this.#state.log.commitOpen();
    for (const process of this.#state.running.values()) process.kill();
    this.#state.running.clear();
    const { speedGone } = this.#state.plan;
    this.#state.schedule.note(`--- quiet${speedGone ? ", and the speed layer is gone" : ""}`);
    const second = this.#state.troubles.second && !speedGone;
    for (const name of [...(speedGone ? [] : [SPEED[0]]), BATCH[0], READERS[0], ...(second ? [SECOND_READER] : [])])
      this.#start(name);
    const end = this.#state.log.stable;
    const limit = this.#state.schedule.passed + QUIET_GATES;
    const [before, secondBefore] = [this.answers.length, this.#judge.secondAnswers.length];
    const isWhole = (answer: ReadAnswer | undefined) =>
      answer !== undefined && answer.missing === null && cutsEqual(answer.applied, end);
    for (;;) {
      await this.#step();
      const last = this.answers.slice(before).at(-1);
      const settled = last !== undefined && cutsEqual(last.cut, end) && (speedGone || isWhole(last));
      if (settled && (!second || isWhole(this.#judge.secondAnswers.slice(secondBefore).at(-1)))) break;
      if (this.#state.schedule.passed > limit) {
        const found = last === undefined ? "no answer" : this.#judge.describe(last);
        throw new Error(`not live: the log ends at ${shownCut(end)}, ${found}`);
      }
    }
    await this.#judge.checkVersions();
  }

  async #step(): Promise<void> {
    await this.#state.schedule.step();
    if (this.#violation !== null) throw this.#violation;
  }

  /** Starts a process; it continues with what it was at when `runGoesOn`. */
  #start(name: string, runGoesOn = false): void {
    if (!runGoesOn) this.#state.runs.delete(name);
    const process = new Process(name, this.#state.schedule);
    this.#state.running.set(name, process);
    const work = name.startsWith("speed")
      ? this.#workers.speed(process)
      : name.startsWith("batch")
        ? this.#workers.batch(process)
        : name.startsWith("read")
          ? this.#workers.read(process, name === SECOND_READER ? SECOND : "")
          : this.#workers.compact(process);
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
    const { redis } = this.#state.environment;
    if (this.#state.troubles.second) this.#state.clockMs += EVENT_MS;
    switch (event.kind) {
      case "send":
        this.#state.log.append(event.partition, this.#values(event.partition, event.records));
        return;
      case "transaction": {
        const producer = BigInt(event.producer);
        this.#state.log.append(event.partition, this.#values(event.partition, event.records), producer);
        if (event.end !== "open") this.#state.log.finish(event.partition, producer, event.end === "commit");
        return;
      }
      case "kill": {
        const process = this.#state.running.get(event.who);
        process?.kill();
        if (process !== undefined) this.#start(event.who);
        return;
      }
      case "sleep":
        this.#state.running.get(event.who)?.sleep(event.gates);
        return;
      case "lose-reply":
        this.#state.running.get(event.who)?.loseReply();
        return;
      case "roll-back":
        return this.#rollBack(event.events);
      case "forget":
        await redis.flushdb();
    }
  }

  async #trouble(trouble: Trouble): Promise<void> {
    this.#state.schedule.note(`--- ${Object.values(trouble).join(" ")}`);
    if (trouble.kind === "evict") await this.#evict(trouble.key);
    else if (trouble.kind === "stop") this.#state.seconds.get(trouble.who)?.stop(STOPPED, this.#state.clockMs);
    else this.#state.running.get(trouble.who)?.fail(trouble.what, trouble.after, trouble.times);
  }

  async #evict(number: number): Promise<void> {
    const { redis } = this.#state.environment;
    await this.#state.schedule.calm();
    // Ids of segments are random: a seed evicts the same kind of key again.
    const kindOf = (key: string) => key.replace(/:s:[^:]+:/, ":s:");
    const keys = (await redis.keys("*")).sort((a, b) => (kindOf(a) < kindOf(b) ? -1 : 1));
    const key = keys[number % keys.length];
    this.#state.schedule.note(`    ${key ?? "nothing is there"}`);
    if (key !== undefined) await redis.del(key);
  }

  #values(partition: number, records: readonly Sent[]): (Buffer | null)[] {
    const ids = this.#ids.get(partition) ?? [];
    return records.map(({ kind, back, hour, place, colour, hidden }) => {
      const number = ++this.#sent;
      const id = (kind === "repeat" ? ids.at(-back) : undefined) ?? `d${number}`;
      ids.push(id);
      if (kind === "empty") return null;
      if (kind === "broken") return Buffer.from(`{"id":"${id}`);
      const weight = kind === "refused" ? -1 : number * number;
      const parcel: Parcel = { id, at: BEGIN_MS + hour * 3_600_000 + number, place, weight, colour, hidden };
      return Buffer.from(JSON.stringify(parcel));
    });
  }
}

function shown(event: Event): string {
  return event.kind === "send" || event.kind === "transaction"
    ? `${event.kind} ${event.records.length} to ${event.partition}${"end" in event ? `, ${event.end}` : ""}`
    : Object.values(event).join(" ");
}
