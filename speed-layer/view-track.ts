import type { Logger } from "pino";
import type { Generation } from "../core/definition/generation.ts";
import type { View } from "../core/definition/view.ts";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import type { Manifest } from "../core/log/documents.ts";
import { at, type Cut, cutFromJson, cutReached, cutToJson, type Position } from "../core/log/position.ts";
import { type ArchiveTail, belowContinuation } from "../store/archive/archive-tail.ts";
import { eventsFrom } from "../store/decode/decoder.ts";
import type { Definition } from "../store/definitions/definitions.ts";
import { sqlFailed } from "../store/duckdb/duck-errors.ts";
import { logLost } from "../store/kafka/cluster/log-errors.ts";
import type { FetchedPartition, LogBounds, LogSource, TopicInfo } from "../store/kafka/read/log.ts";
import { type ComparedLog, requireReached } from "../store/kafka/read/log-check.ts";
import { type Mark, markAfter } from "../store/kafka/read/marks.ts";
import type { Chain } from "../store/redis/chain.ts";
import { type Application, type ApplyReply, closedOf, refusal, tilesOf } from "../store/redis/chain-state.ts";
import { healthyChain, only } from "./healthy-chain.ts";
import type { SpeedMetrics } from "./metrics.ts";
import { SegmentCompaction } from "./segment-compaction.ts";
import { needsSettlement } from "./settling.ts";
import type { BatchStates } from "./states/batch-states.ts";
import { ledgerOf } from "./states/deltas.ts";

/**
 * One view on its way through one topic.
 *
 *   detached --attach--> live --NOCHAIN--> detached
 *     |  |                 |
 *     |  +--- the log is not ours any more, or the view is too large ---> stopped --after a while--> detached
 *     +--- the batch layer builds its first version from the archive ---> building --every second--> detached
 *                          |
 *                          +--- its live cells reach the limit ---> settling --every two seconds--> detached
 *
 * Settling: the batch layer is asked to publish, which makes room; a view for which that takes too long is stopped.
 *
 * A live view whose pointer moved (a version was published) is attached again before the next fetch, when Redis has
 * answered for everything that was sent. Until then it stays live: a batch that is decoded already is applied, by
 * equality of positions, and need not be read a second time.
 */
type Phase =
  | { readonly kind: "detached" }
  | { readonly kind: "building"; readonly untilMs: number }
  | { readonly kind: "settling"; readonly untilMs: number }
  | { readonly kind: "live" }
  | { readonly kind: "stopped"; readonly error: TidelineError; readonly untilMs: number };

/**
 * An open segment that costs a reader more than this is sealed: as many plain cells, which Redis reads in about 5 ms.
 */
const SEAL_AT_WORK = 5_000;
/**
 * A view that the batch layer builds looks again after this long, and reads the log itself when it has waited for the
 * whole patience.
 */
const BUILDING_FOR_MS = 1_000;
const BUILDING_PATIENCE_MS = 120_000;
/**
 * A view whose live cells reached the limit tries again after this long, and is stopped when nothing was published for
 * the whole patience.
 */
const SETTLING_FOR_MS = 2_000;
const SETTLING_PATIENCE_MS = 180_000;
/** How often the batch layer is asked to publish a view at most. */
const ASK_EVERY_MS = 5_000;
/**
 * Where room is needed, segments go when the version that has what they hold was published so long ago. A reader of the
 * version before that still wants one starts again.
 */
const ROOM_AFTER_MS = 5_000;
/** How often a view with many live cells looks for room at most. */
const LOOK_FOR_ROOM_MS = 1_000;
/** A stopped view looks again after this long: whoever mended the log need not restart anything. */
const STOPPED_FOR_MS = 30_000;

export interface TrackDeps {
  readonly definition: Definition;
  readonly chain: Chain;
  /** The newest manifest, begun if there is none. */
  readonly newestManifest: () => Promise<Manifest>;
  /**
   * Whether a first version is better made from the archive, which holds much of the log that the view has not seen.
   */
  readonly longArchive: (manifest: Manifest) => Promise<boolean>;
  /** Where the archive of the view's stream ends, for a topic of this id. */
  readonly archiveTails: (topicId: string) => Promise<ReadonlyMap<number, ArchiveTail>>;
  /** Throws REDIS_EVICTS when Redis may delete what is applied. */
  readonly requireRedis: () => Promise<void>;
  /** Asks the batch layer to publish this view soon, because its live cells grow towards their limit. */
  readonly askToSettle: () => Promise<void>;
  readonly metrics: SpeedMetrics;
  readonly logger: Logger;
}

/** Where a view is attached: its log, and the partitions that this process has. */
export interface AttachSource {
  readonly log: LogSource;
  /** The same log for the comparisons of this attach, which views that are attached together share (`readOnce`). */
  readonly reads: ComparedLog["log"];
  readonly topic: string;
  readonly info: TopicInfo;
  readonly bounds: LogBounds;
  readonly partitions: readonly number[];
}

/** A batch as a lane hands it to its views: it is in the relation `events` of the lane's connection. */
export interface DecodedBatch extends BatchStates {
  readonly fetched: readonly FetchedPartition[];
  readonly topicId: string;
}

/**
 * When a batch was prepared, how many offsets of the view's it has, and how many of the log were behind it when it was
 * fetched.
 */
interface Extent {
  readonly nowMs: number;
  readonly taken: number;
  readonly left: number;
}

export class ViewTrack {
  readonly #deps: TrackDeps;
  #phase: Phase = { kind: "detached" };
  #pointer = 0;
  /** Whether a reply named another pointer than the last attach found. */
  #moved = false;
  readonly #compaction: SegmentCompaction;
  #waitingSinceMs: number | null = null;
  #settlingSinceMs: number | null = null;
  /** Partitions with a batch for which there was no room. */
  readonly #refused = new Set<number>();
  /** Cells in Redis, as of its last reply. */
  #cells = 0;
  #askedToSettleAtMs = Number.NEGATIVE_INFINITY;
  #lookedForRoomAtMs = Number.NEGATIVE_INFINITY;
  readonly #positions = new Map<number, Position>();
  #compared: ComparedLog | null = null;
  /** By partition, the last record before the position, where it is known. */
  readonly #marks = new Map<number, Mark>();

  constructor(deps: TrackDeps) {
    this.#deps = deps;
    this.#compaction = new SegmentCompaction(deps);
  }

  /** For people: its view's name. */
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
    return this.#phase.kind;
  }

  /** The error that stopped it. */
  get error(): TidelineError | null {
    return this.#phase.kind === "stopped" ? this.#phase.error : null;
  }

  get positions(): Cut {
    return this.#positions;
  }

  /** Whether it has to be attached before it can go on with these partitions. */
  waits(partitions: readonly number[], nowMs: number): boolean {
    if ("untilMs" in this.#phase) return nowMs >= this.#phase.untilMs;
    return (
      this.#phase.kind === "detached" || this.#moved || partitions.some((partition) => !this.#positions.has(partition))
    );
  }

  /** Forgets what it knows of Redis: the next `attach` asks again. */
  detach(): void {
    if (this.#phase.kind === "live") this.#phase = { kind: "detached" };
  }

  /**
   * Steps 1 and 2 (docs/internals/speed-layer.md): newest manifest and chain; reseed when they do not tile; positions;
   * is it still our log? A view for which the answer is no is stopped.
   */
  async attach(source: AttachSource, nowMs: number): Promise<void> {
    try {
      const tails = await this.#deps.archiveTails(source.info.id);
      if (await this.#leavesToBatch(tails, nowMs)) {
        this.#phase = { kind: "building", untilMs: nowMs + BUILDING_FOR_MS };
        return;
      }
      await this.#deps.requireRedis();
      // Other processes have the other partitions now, and find out themselves whether there is room.
      for (const partition of this.#refused)
        if (!source.partitions.includes(partition)) this.#refused.delete(partition);
      if (this.#refused.size === 0) this.#settlingSinceMs = null;
      if (this.#settlingSinceMs !== null) await this.#makeRoom(nowMs);
      const { topic, partitions, bounds } = source;
      const compared = { log: source.reads, topic, topicId: source.info.id, bounds };
      await requireReached(compared, only(partitions, tails));
      const { chain, marks } = await healthyChain(this.#deps, compared, tails, partitions);
      this.#marks.clear();
      for (const [partition, mark] of marks) this.#marks.set(partition, mark);
      for (const partition of partitions) {
        const [applied, start] = [at(chain.applied, partition), at(bounds.start, partition)];
        if (applied < start) throw logLost(topic, partition, applied, start);
      }
      this.#compared = { ...compared, log: source.log };
      this.#positions.clear();
      for (const partition of partitions) this.#positions.set(partition, at(chain.applied, partition));
      this.#pointer = chain.pointer;
      this.#moved = false;
      this.#phase = { kind: "live" };
      this.#deps.logger.info({ view: this.name, positions: cutToJson(this.#positions) }, "view attached");
    } catch (error) {
      if (!isTidelineError(error)) throw error;
      this.stop(error, nowMs);
    }
  }

  /**
   * Whether the batch layer has to publish before this view can read the log: where the log below an accepted
   * continuation is not what was archived; and for a first version, though not for ever, because the batch layer may
   * not be running.
   */
  async #leavesToBatch(tails: ReadonlyMap<number, ArchiveTail>, nowMs: number): Promise<boolean> {
    const manifest = await this.#deps.newestManifest();
    if (belowContinuation(cutFromJson(manifest.cut), tails)) return true;
    if (manifest.version > 0 || !(await this.#deps.longArchive(manifest))) return false;
    this.#waitingSinceMs ??= nowMs;
    return nowMs - this.#waitingSinceMs < BUILDING_PATIENCE_MS;
  }

  /**
   * Whether Redis still has the chain that this track follows, tiling from the newest manifest. Called while the log is
   * quiet. When manifest or chain cannot be read the next attach says why, and stops this view alone.
   */
  async check(): Promise<void> {
    await this.#check().catch((error: unknown) => {
      if (!isTidelineError(error, "ARCHIVE_DAMAGED", "LIVE_STATE_UNREADABLE")) throw error;
      this.detach();
    });
  }

  async #check(): Promise<void> {
    const chain = await this.#deps.chain.load();
    if (
      chain === null ||
      chain.pointer !== this.#pointer ||
      [...this.#positions].some(([p, held]) => at(chain.applied, p) !== held)
    )
      this.detach();
    else if (!tilesOf(cutFromJson((await this.#deps.newestManifest()).cut), chain).ok) this.detach();
  }

  /** The log had nothing after our positions in these partitions: says so to whoever asks how fresh an answer is. */
  async touch(quiet: readonly FetchedPartition[]): Promise<void> {
    const ours = quiet.filter(({ partition, to, stable }) => this.#positions.get(partition) === to && to >= stable);
    if (this.#phase.kind === "live")
      await this.#deps.chain.touch(new Map(ours.map(({ partition, fetchedAtMs }) => [partition, fetchedAtMs])));
  }

  /**
   * Step 4, first half: the states of a decoded batch. Returns how to apply them, or null when there is nothing to
   * apply. Positions move on at once, so that the next batch can be worked on while Redis takes this one; should Redis
   * refuse, its answer puts them right, and what was prepared meanwhile is refused as well, because it begins where
   * nothing ended.
   *
   * Such an answer may come at any moment, so everything here goes by the positions at its beginning: what is applied
   * from a position must hold every record from there on.
   */
  async prepare(batch: DecodedBatch, nowMs: number): Promise<(() => Promise<void>) | null> {
    const positions = new Map(this.#positions);
    const mine = batch.fetched.filter(({ partition, from, to }) => {
      const held = positions.get(partition);
      return held !== undefined && from <= held && held < to;
    });
    if (this.#phase.kind !== "live" || mine.length === 0) return null;
    try {
      await this.#requireSameLog(mine, positions);
    } catch (error) {
      if (!isTidelineError(error)) throw error;
      this.stop(error, nowMs);
      return null;
    }
    const applications = await this.#applications(batch, mine, positions).catch((error: unknown) => {
      this.stop(sqlFailed(this.name, error, OF_SQL), nowMs);
      return [];
    });
    for (const { partition, to, mark } of applications) {
      this.#positions.set(partition, to);
      if (mark !== null) this.#marks.set(partition, mark);
    }
    const [taken, left] = [
      offsets(mine, positions),
      mine.reduce((sum, { to, stable }) => sum + Number(stable - to), 0),
    ];
    return applications.length === 0 ? null : () => this.#apply(applications, { nowMs, taken, left });
  }

  /**
   * Whether a batch continues what was applied. Records that replace lost ones have a later leader epoch, so it is
   * enough to compare the log when the epoch has changed. Throws LOG_TRUNCATED.
   */
  async #requireSameLog(mine: readonly FetchedPartition[], positions: Cut): Promise<void> {
    const compared = this.#compared;
    if (compared === null) return;
    if (mine.some(({ partition }) => !this.#marks.has(partition))) {
      for (const [partition, { position, mark }] of await this.#deps.chain.reached())
        if (mark !== null && position === at(positions, partition)) this.#marks.set(partition, mark);
    }
    for (const { partition, leaderEpoch } of mine) {
      const mark = this.#marks.get(partition);
      if (mark === undefined || leaderEpoch <= mark.leaderEpoch) continue;
      // Those of the last attach may be days old, and the log deleted up to a later offset since.
      const bounds = await compared.log.bounds(compared.topic, [partition]);
      await requireReached({ ...compared, bounds }, [[partition, { position: at(positions, partition), mark }]]);
    }
  }

  /** What the batch adds, by partition. Fails where the view's SQL does: on overflow in an expression, for instance. */
  async #applications(batch: DecodedBatch, mine: readonly FetchedPartition[], positions: Cut): Promise<Application[]> {
    const { view } = this.#deps.definition;
    const events = eventsFrom("events", positions, mine);
    const states = await batch.states(view, events);
    const ledgers = await batch.ledger(events);
    const { topicId } = batch;
    return mine.map((fetched) => {
      const { partition, to, stable, fetchedAtMs } = fetched;
      const { deltas, counted } = states.get(partition) ?? { deltas: [], counted: 0 };
      return {
        partition,
        from: at(positions, partition),
        to,
        mark: markAfter(fetched, topicId, this.#marks.get(partition) ?? null),
        ledger: ledgerOf(ledgers.get(partition), counted),
        deltas,
        maxCells: view.maxCells,
        topicId,
        freshAtMs: to >= stable ? fetchedAtMs : null,
      };
    });
  }

  /**
   * Step 4, second half. A small batch is one atomic apply per partition; one with more cells than a script may touch
   * goes in parts, all its partitions together. A reply that says the batch is malformed stops this view and no other.
   */
  async #apply(applications: readonly Application[], { nowMs, taken, left }: Extent): Promise<void> {
    const { chain, definition, metrics } = this.#deps;
    const replies = await chain.applyBatch(applications).catch((error: unknown) => {
      if (!isMalformed(error)) throw error;
      this.stop(refused(this.name, error), nowMs);
      return [];
    });
    let [openWork, cells, inParts] = [0, 0, false];
    for (const [index, reply] of replies.entries()) {
      const answered = replies.length === applications.length ? applications.slice(index, index + 1) : applications;
      await this.#take(reply, answered, nowMs);
      if (reply.kind !== "ok") continue;
      for (const { ledger } of answered) metrics.records.inc({ view: this.name }, ledger.records);
      openWork = Math.max(openWork, reply.openWork);
      cells = Math.max(cells, reply.cells);
      inParts = reply.inParts;
    }
    const added = cells - this.#cells;
    this.#cells = cells;
    const live = { cells, maxCells: definition.view.maxCells, added, taken, left };
    if (needsSettlement(live) && nowMs - this.#lookedForRoomAtMs >= LOOK_FOR_ROOM_MS) {
      this.#lookedForRoomAtMs = nowMs;
      try {
        if (needsSettlement({ ...live, cells: await this.#makeRoom(nowMs) })) await this.#askToSettle(nowMs);
      } catch (error) {
        if (!isTidelineError(error)) throw error;
        this.stop(error, nowMs);
        return;
      }
    }
    if (openWork > SEAL_AT_WORK) await chain.seal(null);
    if (openWork > SEAL_AT_WORK || inParts) await this.#compaction.whenDue();
  }

  /** What follows from a reply to these applications. */
  async #take(reply: ApplyReply, answered: readonly Application[], nowMs: number): Promise<void> {
    switch (reply.kind) {
      case "ok":
        for (const { partition } of answered) this.#refused.delete(partition);
        if (this.#refused.size === 0) this.#settlingSinceMs = null;
        if (reply.pointer !== this.#pointer) this.#moved = true;
        return;
      case "position":
        for (const [partition, stored] of reply.stored) {
          this.#positions.set(partition, stored);
          this.#marks.delete(partition);
        }
        this.#deps.metrics.repositioned.inc({ view: this.name });
        return;
      case "no-chain":
        this.detach();
        return;
      case "too-large":
        if (this.#phase.kind === "stopped") return;
        for (const { partition } of answered) this.#refused.add(partition);
        this.#settlingSinceMs ??= nowMs;
        // No room is enough for a batch that is too large by itself. The next refresh reads it from the archive, and
        // puts the cut behind it.
        if (reply.cells === 0 || nowMs - this.#settlingSinceMs >= SETTLING_PATIENCE_MS)
          this.stop(refusal(this.name, reply), nowMs);
        else this.#phase = { kind: "settling", untilMs: nowMs + SETTLING_FOR_MS };
        await this.#askToSettle(nowMs);
        return;
      default:
        this.stop(refusal(this.name, reply), nowMs);
    }
  }

  async #askToSettle(nowMs: number): Promise<void> {
    if (nowMs - this.#askedToSettleAtMs < ASK_EVERY_MS) return;
    this.#askedToSettleAtMs = nowMs;
    await this.#deps.askToSettle();
  }

  /**
   * What was published need not wait for the next version to leave Redis when room is needed. Answers how many cells
   * Redis has that are in no version yet.
   */
  async #makeRoom(nowMs: number): Promise<number> {
    const { cut: published, createdAtMs } = await this.#deps.newestManifest();
    const chain = await this.#deps.chain.load();
    if (chain === null) return 0;
    const cut = cutFromJson(published);
    const settled = closedOf(chain.segments).filter(({ to }) => cutReached(cut, to));
    const ageMs = nowMs - createdAtMs;
    // A version of the future is of a clock that was set: its age says nothing.
    if (settled.length > 0 && (ageMs > ROOM_AFTER_MS || ageMs < 0)) await this.#deps.chain.trim(cut);
    return chain.cells - settled.reduce((sum, segment) => sum + (segment.cells ?? 0), 0);
  }

  /** Stops this view, and it alone, with a named error (invariant 10). */
  stop(error: TidelineError, nowMs: number): void {
    this.#phase = { kind: "stopped", error, untilMs: nowMs + STOPPED_FOR_MS };
    this.#deps.logger.error({ view: this.name, code: error.code, hint: error.hint }, error.message);
  }
}

/** Whether a script refused its arguments. Other errors are of Redis itself: full, loading, away. */
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

/** How many offsets of a batch lie at or behind `positions`. */
function offsets(fetched: readonly FetchedPartition[], positions: Cut): number {
  return fetched.reduce((sum, { partition, to }) => sum + Number(to - at(positions, partition)), 0);
}

const OF_SQL = {
  code: "VIEW_FAILED",
  hint:
    "Make the view's expressions total, with nullif, TRY_CAST or a CASE, for every " +
    "event that the contract accepts.",
} as const;
