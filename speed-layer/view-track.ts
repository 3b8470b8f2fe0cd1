import type { Logger } from "pino";
import type { Generation } from "../core/definition/generation.ts";
import type { View } from "../core/definition/view.ts";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import type { Manifest } from "../core/log/documents.ts";
import { at, type Cut, cutToJson } from "../core/log/position.ts";
import { type ArchiveTail, belowContinuation } from "../store/archive/archive-tail.ts";
import type { Definition } from "../store/definitions/definitions.ts";
import { sqlFailed } from "../store/duckdb/duck-errors.ts";
import { logLost } from "../store/kafka/cluster/log-errors.ts";
import type { FetchedPartition, LogBounds, LogSource, TopicInfo } from "../store/kafka/read/log.ts";
import { type ComparedLog, requireReached } from "../store/kafka/read/log-check.ts";
import { type Mark, markAfter } from "../store/kafka/read/marks.ts";
import type { Chain } from "../store/redis/chain.ts";
import { type Application, tilesOf } from "../store/redis/chain-state.ts";
import { healthyChain, only } from "./healthy-chain.ts";
import { makeRoom } from "./live-room.ts";
import type { SpeedMetrics } from "./metrics.ts";
import { SegmentCompaction } from "./segment-compaction.ts";
import type { BatchStates } from "./states/batch-states.ts";
import { ledgerOf } from "./states/deltas.ts";
import {
  DETACHED,
  eventOf,
  mustAttach,
  type Phase,
  type TrackEffect,
  type TrackEvent,
  transition,
  waitsForBuild,
} from "./track-state.ts";

/**
 * The most work of reading an open segment before it is sealed. The unit is one plain cell; Redis reads this many in
 * about 5 ms.
 */
const SEAL_AT_WORK = 5_000;
export interface TrackDeps {
  readonly definition: Definition;
  readonly chain: Chain;
  /** Returns the newest manifest, and creates the first one if there is none. */
  readonly newestManifest: () => Promise<Manifest>;
  /**
   * Whether the batch layer should make the first version, because the archive has much of the log that the view has
   * not read.
   */
  readonly longArchive: (manifest: Manifest) => Promise<boolean>;
  /** Returns the ends of the archive of the view's stream, by partition, for the topic with this id. */
  readonly archiveTails: (topicId: string) => Promise<ReadonlyMap<number, ArchiveTail>>;
  /** Throws REDIS_EVICTS when Redis may evict keys of the live state. */
  readonly requireRedis: () => Promise<void>;
  /** Asks the batch layer to publish this view soon, because its live cells grow towards their limit. */
  readonly askToSettle: () => Promise<void>;
  readonly metrics: SpeedMetrics;
  readonly logger: Logger;
}

/** The log that a view is attached to, and the partitions that this process has. */
export interface AttachSource {
  readonly log: LogSource;
  /**
   * The same log, for the comparisons of this attach. Views that are attached together share the reads (`readOnce`).
   */
  readonly reads: ComparedLog["log"];
  readonly topic: string;
  readonly info: TopicInfo;
  readonly bounds: LogBounds;
  readonly partitions: readonly number[];
}

/** A batch, as a lane passes it to its views. */
export interface LaneBatch extends BatchStates {
  readonly fetched: readonly FetchedPartition[];
  readonly topicId: string;
}

/**
 * When a batch was prepared, how many of its offsets are new to the view, and how many offsets of the log were after it
 * when it was fetched.
 */
interface Extent {
  readonly nowMs: number;
  readonly taken: number;
  readonly left: number;
}

/** One view that reads one topic. It does the work that its state machine (`track-state.ts`) asks for. */
export class ViewTrack {
  readonly #deps: TrackDeps;
  readonly #compaction: SegmentCompaction;
  #state = DETACHED;
  #compared: ComparedLog | null = null;

  constructor(deps: TrackDeps) {
    this.#deps = deps;
    this.#compaction = new SegmentCompaction(deps);
  }

  /** Its view's name, for logs and messages. */
  get name(): string {
    return this.#deps.definition.view.name;
  }

  get view(): View {
    return this.#deps.definition.view;
  }

  get generation(): Generation {
    return this.#deps.definition.generation;
  }

  get phase(): Phase["kind"] {
    return this.#state.phase.kind;
  }

  /** The error that stopped the view. Null while it is not stopped. */
  get error(): TidelineError | null {
    const { phase } = this.#state;
    return phase.kind === "stopped" ? phase.error : null;
  }

  get positions(): Cut {
    return this.#state.positions;
  }

  /** Whether the view has to be attached before it can read these partitions. */
  waits(partitions: readonly number[], nowMs: number): boolean {
    return mustAttach(this.#state, partitions, nowMs);
  }

  /** Forgets the state read from Redis. The next `attach` reads it again. */
  detach(): void {
    this.#move({ kind: "chain-lost" });
  }

  /** Stops this view, and no other, with a named error (invariant 10). */
  stop(error: TidelineError, nowMs: number): void {
    this.#move({ kind: "stopped", error, nowMs });
  }

  /**
   * Steps 1 and 2 of the speed layer (docs/internals/speed-layer.md): reads the newest manifest and the chain, begins a
   * new chain if they do not tile, takes the chain's positions, and compares the log with the last records that were
   * read. If the log is another one, the view is stopped.
   */
  async attach(source: AttachSource, nowMs: number): Promise<void> {
    try {
      const tails = await this.#deps.archiveTails(source.info.id);
      if (await this.#leavesToBatch(tails, nowMs)) {
        this.#move({ kind: "left-to-batch", nowMs });
        return;
      }
      await this.#deps.requireRedis();
      const { topic, partitions, bounds } = source;
      this.#move({ kind: "attaching", partitions });
      if (this.#state.settlingSinceMs !== null) await makeRoom(this.#deps);
      const compared = { log: source.reads, topic, topicId: source.info.id, bounds };
      await requireReached(compared, only(partitions, tails));
      const { chain, marks } = await healthyChain(this.#deps, compared, tails, partitions);
      for (const partition of partitions) {
        const [applied, start] = [at(chain.applied, partition), at(bounds.start, partition)];
        if (applied < start) throw logLost(topic, partition, applied, start);
      }
      this.#compared = { ...compared, log: source.log };
      const positions = new Map(partitions.map((partition) => [partition, at(chain.applied, partition)]));
      this.#move({ kind: "attached", positions, marks, pointer: chain.pointer });
      this.#deps.logger.info({ view: this.name, positions: cutToJson(positions) }, "view attached");
    } catch (error) {
      this.#stopFor(error, nowMs);
    }
  }

  /** Stops for an error that concerns this view alone; throws any other. */
  #stopFor(error: unknown, nowMs: number): void {
    if (!isTidelineError(error)) throw error;
    this.stop(error, nowMs);
  }

  /**
   * Whether the batch layer has to publish a version before this view can read the log. It has to where the log below
   * an accepted continuation is not what was archived. It should for a first version, but the view waits only for a
   * while, because the batch layer may not be running.
   */
  async #leavesToBatch(tails: ReadonlyMap<number, ArchiveTail>, nowMs: number): Promise<boolean> {
    const manifest = await this.#deps.newestManifest();
    if (belowContinuation(manifest.cut, tails)) return true;
    if (manifest.version > 0 || !(await this.#deps.longArchive(manifest))) return false;
    this.#move({ kind: "archive-ahead", nowMs });
    return waitsForBuild(this.#state, nowMs);
  }

  /**
   * Checks that Redis still has the chain that this view follows, and that it tiles from the newest manifest. Detaches
   * the view otherwise. Called while the log is quiet. If the manifest or the chain cannot be read, the next attach
   * reports the error, and stops this view alone.
   */
  async check(): Promise<void> {
    await this.#check().catch((error: unknown) => {
      if (!isTidelineError(error, "ARCHIVE_DAMAGED", "LIVE_STATE_UNREADABLE")) throw error;
      this.detach();
    });
  }

  async #check(): Promise<void> {
    const chain = await this.#deps.chain.load();
    const { pointer, positions } = this.#state;
    if (
      chain === null ||
      chain.pointer !== pointer ||
      [...positions].some(([partition, held]) => at(chain.applied, partition) !== held)
    )
      this.detach();
    else if (!tilesOf((await this.#deps.newestManifest()).cut, chain).ok) this.detach();
  }

  /**
   * Writes to Redis that the log had no records after the view's positions in these partitions, for the freshness of
   * answers.
   */
  async touch(quiet: readonly FetchedPartition[]): Promise<void> {
    const { phase, positions } = this.#state;
    const ours = quiet.filter(({ partition, to, stable }) => positions.get(partition) === to && to >= stable);
    if (phase.kind === "live")
      await this.#deps.chain.touch(new Map(ours.map(({ partition, fetchedAtMs }) => [partition, fetchedAtMs])));
  }

  /**
   * Step 4 of the speed layer (docs/internals/speed-layer.md), first half: computes the states of a decoded batch.
   * Returns a function that applies them, or null if there is nothing to apply. The positions move on at once, so that
   * the next batch can be worked on while Redis applies this one. If Redis refuses, its reply puts the positions back
   * ("A refused apply" on that page).
   *
   * Such a reply may come at any moment, so this function uses only the positions at its beginning: a batch applied
   * from a position must hold every record from there on.
   */
  async prepare(batch: LaneBatch, nowMs: number): Promise<(() => Promise<void>) | null> {
    const { phase, positions } = this.#state;
    const mine = batch.fetched.filter(({ partition, from, to }) => {
      const held = positions.get(partition);
      return held !== undefined && from <= held && held < to;
    });
    if (phase.kind !== "live" || mine.length === 0) return null;
    let marks: ReadonlyMap<number, Mark>;
    try {
      marks = await this.#requireSameLog(mine, positions);
    } catch (error) {
      this.#stopFor(error, nowMs);
      return null;
    }
    const applications = await this.#applications(batch, mine, { positions, marks }).catch((error: unknown) => {
      this.stop(sqlFailed(this.name, error, OF_SQL), nowMs);
      return [];
    });
    this.#move({ kind: "prepared", ends: applications });
    const [taken, left] = [
      offsets(mine, positions),
      mine.reduce((sum, { to, stable }) => sum + Number(stable - to), 0),
    ];
    return applications.length === 0
      ? null
      : () => this.#apply(applications, { nowMs, taken, left }).catch((error: unknown) => this.#stopFor(error, nowMs));
  }

  /**
   * Checks that a batch continues the log that was applied. Records that replace lost ones have a later leader epoch,
   * so the log is compared only when the epoch has changed. Returns the marks at `positions`, even if the view has
   * moved since: Redis compares the batch with these positions. Throws LOG_TRUNCATED.
   */
  async #requireSameLog(mine: readonly FetchedPartition[], positions: Cut): Promise<ReadonlyMap<number, Mark>> {
    const compared = this.#compared;
    const marks = new Map(this.#state.marks);
    if (compared === null) return marks;
    if (mine.some(({ partition }) => !marks.has(partition))) {
      const reached = await this.#deps.chain.reached();
      for (const [partition, { position, mark }] of reached)
        if (mark !== null && position === at(positions, partition)) marks.set(partition, mark);
      this.#move({ kind: "reached", reached, positions });
    }
    for (const { partition, leaderEpoch } of mine) {
      const mark = marks.get(partition);
      if (mark === undefined || leaderEpoch <= mark.leaderEpoch) continue;
      // Read the bounds again: those of the last attach may be days old, and Kafka may have deleted more of the log
      // since.
      const bounds = await compared.log.bounds(compared.topic, [partition]);
      await requireReached({ ...compared, bounds }, [[partition, { position: at(positions, partition), mark }]]);
    }
    return marks;
  }

  /**
   * Returns the states that the batch adds, by partition. Throws if the view's SQL fails, for example on overflow in an
   * expression.
   */
  async #applications(
    batch: LaneBatch,
    mine: readonly FetchedPartition[],
    { positions, marks }: { readonly positions: Cut; readonly marks: ReadonlyMap<number, Mark> },
  ): Promise<Application[]> {
    const { view } = this.#deps.definition;
    const { decoded, topicId } = batch;
    const events = decoded.from(positions, mine);
    const states = await batch.states(view, events);
    const ledgers = await decoded.ledger(events);
    return mine.map((fetched) => {
      const { partition, to, stable, fetchedAtMs } = fetched;
      const { deltas, counted } = states.get(partition) ?? { deltas: [], counted: 0 };
      return {
        partition,
        from: at(positions, partition),
        to,
        mark: markAfter(fetched, topicId, marks.get(partition) ?? null),
        ledger: ledgerOf(ledgers.get(partition), counted),
        deltas,
        maxCells: view.maxCells,
        topicId,
        freshAtMs: to >= stable ? fetchedAtMs : null,
      };
    });
  }

  /**
   * Step 4 of the speed layer (docs/internals/speed-layer.md), second half. A small batch is one atomic apply per
   * partition. A batch with more cells than a script may touch is applied in parts, all its partitions together. Throws
   * APPLY_REFUSED when Redis reports that the batch is malformed.
   */
  async #apply(applications: readonly Application[], { nowMs, taken, left }: Extent): Promise<void> {
    const { chain, definition, metrics } = this.#deps;
    const replies = await chain.applyBatch(applications).catch((error: unknown) => {
      throw isMalformed(error) ? refused(this.name, error) : error;
    });
    let [openWork, cells, inParts] = [0, 0, false];
    for (const [index, reply] of replies.entries()) {
      const answered = replies.length === applications.length ? applications.slice(index, index + 1) : applications;
      const partitions = answered.map(({ partition }) => partition);
      await this.#handle(eventOf(reply, this.name, partitions, nowMs));
      if (reply.kind === "position") this.#noteRefused(answered, reply.stored);
      if (reply.kind !== "ok") continue;
      for (const { ledger } of answered) metrics.records.inc({ view: this.name }, ledger.records);
      openWork = Math.max(openWork, reply.openWork);
      cells = Math.max(cells, reply.cells);
      inParts = reply.inParts;
    }
    if (replies.every(({ kind }) => kind !== "ok")) return;
    await this.#handle({ kind: "counted", live: { cells, maxCells: definition.view.maxCells, taken, left }, nowMs });
    if (openWork > SEAL_AT_WORK) await chain.seal(null);
    if (openWork > SEAL_AT_WORK || inParts) await this.#compaction.whenDue();
  }

  #noteRefused(applications: readonly Application[], stored: Cut): void {
    const { definition, metrics, logger } = this.#deps;
    metrics.repositioned.inc({ view: this.name });
    const spans = applications.map(({ partition, from, to }) => ({ partition, from: `${from}`, to: `${to}` }));
    logger.warn(
      { stream: definition.view.stream.name, view: this.name, spans, stored: cutToJson(stored) },
      "apply refused: Redis has another position stored",
    );
  }

  /** Moves to the state after an event, and does what has to be done. */
  async #handle(event: TrackEvent): Promise<void> {
    const effect = this.#move(event);
    if (effect !== null) await this.#run(effect);
  }

  /** Moves to the state after an event, and returns what has to be done. */
  #move(event: TrackEvent): TrackEffect | null {
    const { phase: before } = this.#state;
    const { state, effect } = transition(this.#state, event);
    this.#state = state;
    const { phase } = state;
    if (phase.kind === "stopped" && phase !== before)
      this.#deps.logger.error({ view: this.name, code: phase.error.code, hint: phase.error.hint }, phase.error.message);
    return effect;
  }

  async #run(effect: TrackEffect): Promise<void> {
    if (effect.kind === "ask-to-settle") return this.#deps.askToSettle();
    const { live, nowMs } = effect;
    await this.#handle({ kind: "room-made", live: { ...live, cells: await makeRoom(this.#deps) }, nowMs });
  }
}

/** Whether a script refused its arguments. Other errors come from Redis itself: it is full, loading or unreachable. */
function isMalformed(error: unknown): boolean {
  return (error as Error).message.startsWith("ERR tideline");
}

function refused(view: string, cause: unknown): TidelineError {
  return new TidelineError(
    "APPLY_REFUSED",
    `${view}: Redis refused the state of a batch: ${(cause as Error).message}`,
    "This is an error of the program: report it. The view goes on from the log when it is mended.",
    { cause },
  );
}

/** Returns how many offsets of a batch are at or after `positions`. */
function offsets(fetched: readonly FetchedPartition[], positions: Cut): number {
  return fetched.reduce((sum, { partition, to }) => sum + Number(to - at(positions, partition)), 0);
}

const OF_SQL = {
  code: "VIEW_FAILED",
  hint:
    "Make the view's expressions total, with nullif, TRY_CAST or a CASE, for every " +
    "event that the contract accepts.",
} as const;
