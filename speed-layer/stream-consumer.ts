import { setMaxListeners } from "node:events";
import type { Logger } from "pino";
import { isTidelineError } from "../core/errors.ts";
import { at, type Cut } from "../core/log/position.ts";
import type { Duck, DuckPool } from "../store/duckdb/duck.ts";
import { Membership } from "../store/kafka/group/membership.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import type { FailureCounter } from "../store/redis/failure-tracker.ts";
import { Lane, type LaneDeps } from "./lane.ts";
import { LaneWatch } from "./lane-watch.ts";
import { PartitionWatch } from "./partition-watch.ts";
import type { ViewTrack } from "./view-track.ts";
import { ViewWatch } from "./view-watch.ts";

const RETRY_MS = { first: 100, last: 5_000 };

export interface StreamConsumerDeps extends Omit<LaneDeps, "log" | "duck" | "moveOut"> {
  readonly brokers: string;
  readonly pool: DuckPool;
  readonly failures: FailureCounter;
  /** The name of its failures: the stream, with the revision if this process reads the stream under several. */
  readonly name: string;
  /** Returns the name of a view among those of this process. */
  readonly nameOf: (track: ViewTrack) => string;
  readonly logger: Logger;
}

interface OpenLane {
  readonly lane: Lane;
  readonly watch: LaneWatch;
  readonly partitions: PartitionWatch;
  readonly log: LogReader;
  readonly duck: Duck;
}

interface RunningLane extends OpenLane {
  readonly done: Promise<void>;
}

/** One topic in this process: this process's share of the partitions, and the lanes that read them. */
export class StreamConsumer {
  readonly #deps: StreamConsumerDeps;
  readonly #tracks: Set<ViewTrack>;
  readonly #membership: Membership;
  readonly #stopping = new AbortController();
  readonly #lanes = new Set<RunningLane>();
  readonly #views: ViewWatch;
  #main: Lane | null = null;
  #started: Promise<void> = Promise.resolve();
  /** The reader that is used until the process has joined the group. */
  #joining: LogReader | null = null;

  constructor(deps: StreamConsumerDeps, tracks: readonly ViewTrack[]) {
    this.#deps = deps;
    // Every waiting lane listens to this signal, and there may be as many lanes as views.
    setMaxListeners(0, this.#stopping.signal);
    this.#tracks = new Set(tracks);
    this.#views = new ViewWatch(deps.failures, deps.nameOf);
    const { brokers, topic, stream, failures, name, logger } = deps;
    // Processes that know different revisions of the contract read the stream in groups of their own.
    const groupId = `tideline-speed-${topic}-r${stream.revision}`;
    const failing = { kind: "lane", name: `${name} (group)`, views: this.#generations() } as const;
    this.#membership = new Membership({
      brokers,
      topic,
      groupId,
      logger,
      onChange: () => this.#reset(),
      onHeartbeat: (error) => (error === null ? failures.succeeded(failing) : failures.failed(failing, error)),
    });
  }

  get stream(): string {
    return this.#deps.stream.name;
  }

  get tracks(): ReadonlySet<ViewTrack> {
    return this.#tracks;
  }

  /** Removes a view whose generation was retired. */
  remove(track: ViewTrack): void {
    this.#tracks.delete(track);
    for (const { lane } of this.#lanes) lane.giveUp(track);
    this.#views.resumed(track);
    this.#deps.logger.info({ view: track.name, generation: track.generation }, "generation retired");
  }

  get partitions(): readonly number[] {
    return this.#membership.partitions;
  }

  /**
   * How far fetching is behind in each partition of this process, in offsets. If several lanes read a partition, the
   * one that is farthest behind.
   */
  get lags(): ReadonlyMap<number, number> {
    const lags = new Map<number, number>();
    for (const { lane } of this.#lanes)
      for (const [partition, offsets] of lane.lags)
        if (this.partitions.includes(partition)) lags.set(partition, Math.max(offsets, lags.get(partition) ?? 0));
    return lags;
  }

  /** Begins in the background, so that a missing topic, or a Kafka that does not answer, delays nobody else. */
  start(): void {
    this.#started = this.#begin().catch((error: unknown) => this.#couldNot("begin", error));
  }

  /** Finishes the batches under way, then leaves the group. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#started;
    // A step under way may start another lane.
    while (this.#lanes.size > 0) await Promise.all([...this.#lanes].map(({ done }) => done));
    await this.#membership.leave();
  }

  /** Ends the calls to Kafka that `stop` still waits for. Otherwise they may take half a minute. */
  async hurry(): Promise<void> {
    const logs = [...this.#lanes].map(({ log }) => log);
    await Promise.all([...logs, this.#joining].map((log) => log?.close()));
  }

  /** Counts steps that do not end. Call it from time to time. */
  checkStalled(): void {
    for (const { lane, watch } of this.#lanes) watch.checkStalled(lane);
  }

  #generations(): string[] {
    return [...this.#tracks].map(({ generation }) => generation);
  }

  async #begin(): Promise<void> {
    const { brokers, topic, failures: counter, name, logger } = this.#deps;
    const failing = { kind: "lane", name: `${name} (join)`, views: this.#generations() } as const;
    const log = new LogReader({ brokers, clientId: `tideline-speed-${topic}` });
    this.#joining = log;
    for (let failures = 1; !this.#stopping.signal.aborted; failures++) {
      try {
        await log.topic(topic);
        await this.#membership.join(this.#stopping.signal);
        const main = await this.#open(null);
        for (const track of this.#tracks) main.lane.takeIn(track);
        this.#main = main.lane;
        this.#start(main);
        counter.succeeded(failing);
        break;
      } catch (error) {
        (isTidelineError(error) ? counter.stopped : counter.failed).call(counter, failing, error);
        if (isTidelineError(error)) for (const track of this.tracks) track.stop(error, this.#deps.clock.nowMs());
        else logger.warn({ topic, failures, error: (error as Error).message }, "cannot join yet");
        await this.#pause(backoffMs(failures));
      }
    }
    this.#joining = null;
    await log.close();
  }

  #reset(): void {
    for (const { lane, partitions } of this.#lanes) {
      lane.reset();
      partitions.clear();
    }
  }

  /** Opens a lane without views and does not start it. The lane is for all views, or for `alone`. */
  async #open(alone: ViewTrack | null): Promise<OpenLane> {
    const { brokers, topic, pool, failures, name, clock } = this.#deps;
    const own = alone === null ? name : `${name} (${this.#views.nameOf(alone)})`;
    const partitions = new PartitionWatch({ failures, lane: own, generations: () => this.#generations() });
    const log = new LogReader({ brokers, clientId: `tideline-speed-${topic}`, watch: partitions });
    const duck = await pool.connect();
    const moveOut = (track: ViewTrack) => this.#moveOut(track, lane);
    const opening = Lane.open({ ...this.#deps, log, duck, moveOut }, []);
    const lane: Lane = await opening.catch(async (error: unknown) => {
      duck.closeSync();
      await log.close();
      throw error;
    });
    const watch = new LaneWatch({ failures, name: own, views: this.#views, nowMs: () => clock.nowMs() });
    return { lane, watch, partitions, log, duck };
  }

  #start(open: OpenLane): void {
    const done = Promise.resolve()
      .then(() => this.#run(running))
      // Log the error here: nobody waits for a lane that ends before the process does.
      .catch((error: unknown) => this.#couldNot("close a lane", error))
      .finally(() => this.#lanes.delete(running));
    const running: RunningLane = { ...open, done };
    this.#lanes.add(running);
  }

  #couldNot(what: string, error: unknown): void {
    const { topic, logger } = this.#deps;
    logger.error({ topic, error: (error as Error).message }, `could not ${what}`);
  }

  /** Moves a view of `from` to a lane of its own. If none can be opened, the view stays where it is. */
  async #moveOut(track: ViewTrack, from: Lane): Promise<void> {
    const own = await this.#open(track);
    from.giveUp(track);
    if (this.#tracks.has(track)) own.lane.takeIn(track);
    this.#deps.logger.info({ view: track.name }, "behind the others: reads in a lane of its own");
    this.#start(own);
  }

  /**
   * Runs a lane until it has no views or the process stops. After an error of a server, the lane waits, detaches its
   * views and attaches them again.
   */
  async #run(running: RunningLane): Promise<void> {
    const { lane, watch, partitions, log, duck } = running;
    let failures = 0;
    while (!this.#stopping.signal.aborted && (lane === this.#main || lane.tracks.size > 0 || this.#main === null)) {
      try {
        watch.begins();
        const records = await lane.step(this.partitions);
        if (watch.returned(lane, records)) failures = 0;
        await this.#regroup(lane);
      } catch (error) {
        failures += 1;
        lane.reset();
        if (isTidelineError(error)) for (const track of lane.tracks) track.stop(error, this.#deps.clock.nowMs());
        watch.interrupted(lane, error);
        this.#deps.logger.warn(
          { topic: this.#deps.topic, failures, error: (error as Error).message },
          "speed lane interrupted; it looks everything up again",
        );
        await this.#pause(backoffMs(failures));
      }
    }
    watch.ended();
    partitions.clear();
    try {
      await lane.drain();
      lane.close();
      duck.closeSync();
    } finally {
      await log.close();
    }
  }

  /**
   * Moves views between lanes: out of the main lane when they are far behind it, and back when the main lane need not
   * read anything again for them.
   */
  async #regroup(lane: Lane): Promise<void> {
    const main = this.#main;
    if (main === null) return;
    const front = main.front;
    if (lane === main) {
      for (const track of [...main.tracks]) {
        if (
          main.tracks.size === 1 ||
          track.phase !== "live" ||
          behind(track.positions, front) <= this.#deps.pacing.farBehindOffsets
        )
          continue;
        await this.#moveOut(track, main);
      }
      return;
    }
    for (const track of [...lane.tracks]) {
      if (track.phase !== "live" || !main.mayTakeIn(track)) continue;
      // A reply of Redis may still put the view's position back.
      await lane.drain();
      if (track.phase !== "live" || !main.mayTakeIn(track)) continue;
      lane.giveUp(track);
      main.takeIn(track);
      this.#deps.logger.info({ view: track.name }, "caught up: reads with the others");
    }
  }

  /** Waits this long, or until the process stops. */
  async #pause(durationMs: number): Promise<void> {
    await this.#deps.clock.wait(durationMs, this.#stopping.signal);
  }
}

function backoffMs(failures: number): number {
  return Math.min(RETRY_MS.first * 2 ** failures, RETRY_MS.last);
}

/** The largest distance to `front` in any partition, in offsets. */
function behind(positions: Cut, front: Cut): bigint {
  let most = 0n;
  for (const [partition, held] of positions) {
    const distance = at(front, partition) - held;
    if (distance > most) most = distance;
  }
  return most;
}
