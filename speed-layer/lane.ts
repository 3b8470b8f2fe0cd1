import type { Logger } from "pino";
import type { Stream } from "../core/contract/stream.ts";
import { at, type Cut, cutToJson, farthest, nearestIn, type Position } from "../core/log/position.ts";
import type { DeadLetters } from "../store/dead-letters/letter-writer.ts";
import type { DecodedBatch } from "../store/decode/decoded-batch.ts";
import { Decoder, type ScannedBatch } from "../store/decode/decoder.ts";
import { type DedupSources, warmDedups } from "../store/decode/warm-dedup.ts";
import type { Duck } from "../store/duckdb/duck.ts";
import type { FetchedPartition, LogSource, TopicInfo } from "../store/kafka/read/log.ts";
import { readOnce } from "../store/kafka/read/read-once.ts";
import { ApplyQueue, type Write } from "./apply-queue.ts";
import type { Clock } from "./clock.ts";
import { type BatchPace, Fetches, IDLE_WAIT_MS, type Pacing } from "./fetches.ts";
import type { SpeedMetrics } from "./metrics.ts";
import { BatchReader } from "./states/batch-states.ts";
import type { ViewTrack } from "./view-track.ts";

/** How often to check, while the log is quiet, that Redis still has the chains of this lane's views. */
const CHECK_EVERY_MS = 1_000;

export interface LaneDeps {
  readonly stream: Stream;
  readonly topic: string;
  readonly log: LogSource;
  readonly duck: Duck;
  readonly deadLetters: Pick<DeadLetters, "send">;
  /** The sources of the dedup window's ids, for the reload after a seek. */
  readonly dedup: DedupSources;
  readonly pacing: Pacing;
  /** Moves a view out of this lane into a lane of its own. */
  readonly moveOut: (track: ViewTrack) => Promise<void>;
  readonly clock: Clock;
  readonly metrics: SpeedMetrics;
  readonly logger: Logger;
}

/**
 * How often Redis is told that a partition has no new records while other partitions have some. A fetch without any
 * records waits longer than this.
 */
const TOUCH_EVERY_MS = 200;
/** How often to check whether a partition without a leader has one again. */
const LEADERLESS_FOR_MS = 5_000;
/**
 * The most views attached at the same time. A settlement publishes all views of a stream within seconds, and attaching
 * one view takes about twenty requests to Redis, Kafka and the disk, one after the other. The lane reads nothing until
 * all are attached.
 */
const ATTACHED_AT_ONCE = 32;
const NO_BATCH: BatchPace = { records: 0, processingMs: 0 };

/**
 * A fetch loop over one topic for views whose positions are close together. It fetches from the smallest position,
 * decodes once, and applies to each view the records after the view's own position. A view that is far behind has a
 * lane of its own, so that it never delays the others.
 */
export class Lane {
  readonly #deps: LaneDeps;
  readonly #decoder: Decoder;
  readonly #reader: BatchReader;
  readonly #tracks: Set<ViewTrack>;
  readonly #fetches: Fetches;
  /** Batches that were sent to Redis and have no reply yet. */
  readonly #applying: ApplyQueue;
  /**
   * The end of the decoder's memory of ids, by partition. Decoding may continue only there; at any other position the
   * ids have to be reloaded first. An entry is removed before the memory changes and set when the change is complete,
   * so that a failure in between leads to a reload.
   */
  readonly #decoded = new Map<number, Position>();
  /** Views that were stopped, until they are live in this lane or have a lane of their own. */
  readonly #returning = new Set<ViewTrack>();
  #info: TopicInfo | null = null;
  /** Partitions that had no leader at the last check. They are left out until one is found. */
  #leaderless: { readonly partitions: readonly number[]; readonly untilMs: number } = { partitions: [], untilMs: 0 };
  #checkedAtMs = 0;
  readonly #touchedAtMs = new Map<number, number>();
  /** How far fetching was behind the log at the last fetch, in offsets, by partition. */
  readonly #lags = new Map<number, number>();
  #lastBatch = NO_BATCH;

  private constructor(deps: LaneDeps, decoder: Decoder, tracks: Iterable<ViewTrack>) {
    this.#deps = deps;
    this.#decoder = decoder;
    this.#reader = new BatchReader(decoder.statements, ({ message }) =>
      deps.logger.warn({ stream: deps.stream.name, error: message }, "views are read one by one: no shared statement"),
    );
    this.#tracks = new Set(tracks);
    this.#fetches = new Fetches({ ...deps, scan: (batch) => decoder.scan(batch) });
    this.#applying = new ApplyQueue(deps.clock);
  }

  static async open(deps: LaneDeps, tracks: Iterable<ViewTrack>): Promise<Lane> {
    return new Lane(deps, await Decoder.open(deps.duck, deps.stream, deps.dedup.schemas), tracks);
  }

  /** The views that this lane reads for. */
  get tracks(): ReadonlySet<ViewTrack> {
    return this.#tracks;
  }

  /** Adds a view to this lane. The lane reads for it from the view's own position on. */
  takeIn(track: ViewTrack): void {
    this.#tracks.add(track);
  }

  /** Removes a view from this lane: another lane adds it, or its generation was retired. */
  giveUp(track: ViewTrack): void {
    this.#tracks.delete(track);
    this.#returning.delete(track);
  }

  /**
   * The number of batches that Redis has applied or refused with a named reply. If it does not grow between two
   * failures, the lane makes no progress.
   */
  get confirmed(): number {
    return this.#applying.confirmed;
  }

  /**
   * How far fetching is behind the log, in offsets, by partition. It also has partitions that another process reads
   * now.
   */
  get lags(): ReadonlyMap<number, number> {
    return this.#lags;
  }

  /** The furthest position that any view of this lane has reached, by partition. */
  get front(): Cut {
    return farthest(...this.#live().map(({ positions }) => positions));
  }

  /** Whether this lane may add a view without reading again what its live views have read. */
  mayTakeIn(track: ViewTrack): boolean {
    if (this.#tracks.size === 0) return true;
    const others = this.#live();
    return others.length > 0 && !isBehind(track, others);
  }

  /**
   * Drops the fetch made ahead and detaches all views. Call it after an error, and when partitions have moved to or
   * from this process.
   */
  reset(): void {
    this.#fetches.forget();
    this.#applying.abandon();
    for (const track of this.#tracks) track.detach();
  }

  /** Closes the decoder. Call it before the connection is closed. */
  close(): void {
    this.#decoder.close();
  }

  /** Waits for everything that was sent to Redis. Call it before the process ends. */
  async drain(): Promise<void> {
    await this.#applying.settle().catch(() => undefined);
    await this.#fetches.drop();
  }

  /**
   * Does one round: attaches detached views, fetches, decodes, applies. Returns the number of records it took. 0 means
   * also that Redis has replied to everything that was sent before.
   */
  async step(assigned: readonly number[]): Promise<number> {
    const { stream, clock, metrics, pacing } = this.#deps;
    const partitions = await this.#attach(await this.#readable(assigned));
    const wanted = nearestIn(
      partitions,
      this.#live().map(({ positions }) => positions),
    );
    if (wanted.size === 0) {
      this.#lags.clear();
      await this.#applying.settle();
      await clock.wait(IDLE_WAIT_MS);
      return 0;
    }
    await this.#seek(wanted);
    const askedMs = clock.nowMs();
    const { batch, scanned, quiet } = await this.#fetches.from(wanted, this.#lastBatch);
    this.#touchWhenApplied(this.#untouched(quiet));
    if (batch.length === 0) await this.#applying.settle();
    metrics.stageSeconds.observe({ stream: stream.name, stage: "wait" }, (clock.nowMs() - askedMs) / 1_000);
    for (const { partition, stable, to } of [...batch, ...quiet]) this.#lags.set(partition, Number(stable - to));
    if (batch.length === 0) {
      this.#lastBatch = NO_BATCH;
      await this.#check();
      return 0;
    }
    const next = new Map(wanted);
    for (const { partition, to } of batch) next.set(partition, to);
    // Fetch ahead only for a full batch. After a small one, a later fetch brings newer records.
    if (scanned.rows.length >= pacing.fullBatchRecords) this.#fetches.begin(next);
    return this.#work(batch, scanned);
  }

  async #work(fetched: readonly FetchedPartition[], scanned: ScannedBatch): Promise<number> {
    const { stream, clock, metrics } = this.#deps;
    const startedMs = clock.nowMs();
    const records = scanned.rows.length;
    for (const { partition } of fetched) this.#decoded.delete(partition);
    const decoded = await this.#decoder.decode(fetched, scanned);
    const decodedMs = clock.nowMs();
    for (const { partition, to } of fetched) this.#decoded.set(partition, to);
    const { rejected } = decoded;
    if (rejected.length > 0) {
      await this.#deps.deadLetters.send(this.#deps, rejected);
      metrics.rejects.inc({ stream: stream.name }, rejected.length);
    }
    const waitedMs = await this.#applying.push(this.#writes(fetched, decoded));
    const doneMs = clock.nowMs();
    this.#lastBatch = { records, processingMs: doneMs - startedMs };
    metrics.batchRecords.observe({ stream: stream.name }, records);
    metrics.stageSeconds.observe({ stream: stream.name, stage: "decode" }, (decodedMs - startedMs) / 1_000);
    metrics.stageSeconds.observe({ stream: stream.name, stage: "redis" }, waitedMs / 1_000);
    metrics.stageSeconds.observe({ stream: stream.name, stage: "states" }, (doneMs - decodedMs - waitedMs) / 1_000);
    return records;
  }

  /**
   * Yields the write of each view as soon as it is computed, so that it is on its way to Redis while the next view's is
   * computed.
   */
  async *#writes(fetched: readonly FetchedPartition[], decoded: DecodedBatch): AsyncGenerator<Write> {
    const views = this.#live().map(({ view }) => view);
    const batch = { ...this.#reader.read(views, decoded), fetched, topicId: this.#info?.id ?? "" };
    for (const track of this.#tracks) {
      const write = await track.prepare(batch, this.#deps.clock.nowMs());
      if (write !== null) yield write;
    }
  }

  /** Returns the quiet partitions that Redis has not been told about in the last `TOUCH_EVERY_MS`. */
  #untouched(quiet: readonly FetchedPartition[]): FetchedPartition[] {
    const nowMs = this.#deps.clock.nowMs();
    const due = quiet.filter(
      ({ partition }) => nowMs - (this.#touchedAtMs.get(partition) ?? Number.NEGATIVE_INFINITY) >= TOUCH_EVERY_MS,
    );
    for (const { partition } of due) this.#touchedAtMs.set(partition, nowMs);
    return due;
  }

  /**
   * Tells Redis that these partitions have no new records, once it has replied to everything that was sent: their last
   * records may be among it. Other partitions' batches are worked on at the same time.
   */
  #touchWhenApplied(quiet: readonly FetchedPartition[]): void {
    if (quiet.length === 0) return;
    this.#applying.afterwards(() => Promise.all([...this.#tracks].map((track) => track.touch(quiet))));
  }

  /** Returns these partitions without those that are known to have no leader. */
  async #readable(partitions: readonly number[]): Promise<readonly number[]> {
    if (this.#leaderless.partitions.length === 0) return partitions;
    const { log, topic, clock } = this.#deps;
    if (clock.nowMs() >= this.#leaderless.untilMs) this.#leaveOut((await log.readableBounds(topic)).leaderless);
    return partitions.filter((partition) => !this.#leaderless.partitions.includes(partition));
  }

  #leaveOut(partitions: readonly number[]): void {
    this.#leaderless = { partitions, untilMs: this.#deps.clock.nowMs() + LEADERLESS_FOR_MS };
  }

  /** Attaches the views that need it. Returns the partitions of `asked` that have a leader. */
  async #attach(asked: readonly number[]): Promise<readonly number[]> {
    const { log, topic, clock } = this.#deps;
    const waiting = [...this.#tracks].filter((track) => track.waits(asked, clock.nowMs()));
    if (waiting.length === 0 && this.#info !== null) return asked;
    await this.#applying.settle();
    const info = await log.topic(topic);
    const bounds = await log.readableBounds(topic);
    this.#leaveOut(bounds.leaderless);
    const partitions = asked.filter((partition) => !bounds.leaderless.includes(partition));
    this.#info = info;
    const source = { log, reads: readOnce(log), topic, info, bounds, partitions };
    for (const track of waiting)
      if (track.phase === "stopped" || track.phase === "settling") this.#returning.add(track);
    await inGroups(waiting, ATTACHED_AT_ONCE, (track) => track.attach(source, clock.nowMs()));
    await this.#separate();
    return partitions;
  }

  /**
   * Moves a returning view to a lane of its own if it is behind the others. Such a view was stopped or waited for room,
   * and reads again from its old position. It may stop at the same record again, and then the others would read the
   * same records again each time.
   */
  async #separate(): Promise<void> {
    const others = this.#live().filter((track) => !this.#returning.has(track));
    for (const track of this.#returning) {
      if (track.phase === "live" && isBehind(track, others)) await this.#deps.moveOut(track);
      if (track.phase === "live") this.#returning.delete(track);
    }
  }

  /** Reloads the event ids before each new position: step 3 of the speed layer (docs/internals/speed-layer.md). */
  async #seek(wanted: Cut): Promise<void> {
    const moved = [...wanted].filter(([partition, wants]) => this.#decoded.get(partition) !== wants);
    if (moved.length === 0) return;
    await this.#applying.settle();
    await this.#fetches.drop();
    const { dedup, topic, stream, logger } = this.#deps;
    for (const [partition] of moved) this.#decoded.delete(partition);
    await this.#decoder.forget(moved.map(([partition]) => partition));
    const before = new Map(moved);
    await warmDedups(dedup, this.#decoder, { topic, topicId: this.#info?.id ?? "", stream, before });
    for (const [partition, to] of moved) this.#decoded.set(partition, to);
    logger.debug({ topic, before: cutToJson(before) }, "dedup windows warmed");
  }

  async #check(): Promise<void> {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs - this.#checkedAtMs < CHECK_EVERY_MS) return;
    this.#checkedAtMs = nowMs;
    const live = this.#live();
    for (const track of live) await track.check();
    // A chain is seldom lost alone. Check the views again that seemed well, so that all continue together.
    if (this.#live().length < live.length) for (const track of this.#live()) await track.check();
  }

  #live(): ViewTrack[] {
    return [...this.#tracks].filter((track) => track.phase === "live");
  }
}

/** Does some work for all items, `size` at a time. Throws the first error, after the rest of its group has ended. */
async function inGroups<T>(items: readonly T[], size: number, work: (item: T) => Promise<void>): Promise<void> {
  for (let first = 0; first < items.length; first += size) {
    const outcomes = await Promise.allSettled(items.slice(first, first + size).map(work));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }
}

/** Whether a view is behind all of the others in some partition. */
function isBehind({ positions }: ViewTrack, others: readonly ViewTrack[]): boolean {
  const passed = (partition: number, held: Position) => others.every((other) => at(other.positions, partition) > held);
  return others.length > 0 && [...positions].some(([partition, held]) => passed(partition, held));
}
