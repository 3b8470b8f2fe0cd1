import { setMaxListeners } from "node:events";
import type { Logger } from "pino";
import { type RulePosition, type RulePositions, startOf } from "../core/alerts/rule-positions.ts";
import type { Stream } from "../core/contract/stream.ts";
import type { Rule } from "../core/definition/rule.ts";
import { TidelineError } from "../core/errors.ts";
import { at, type Cut, cutReached, type Position } from "../core/log/position.ts";
import { readRulePositions } from "../store/alerts/read-positions.ts";
import type { DeadLetters } from "../store/dead-letters/letter-writer.ts";
import type { DedupSources } from "../store/decode/warm-dedup.ts";
import type { Duck, DuckPool } from "../store/duckdb/duck.ts";
import { topicName } from "../store/kafka/cluster/topics.ts";
import { type FetchWatch, type LogBounds, LogReader, type TopicInfo } from "../store/kafka/read/log.ts";
import { pause } from "../store/pause.ts";
import type { AlertMemory } from "./alert-memory.ts";
import { RuleLane, type RuleTrack } from "./lane.ts";
import type { RuleMetrics } from "./metrics.ts";
import { PartitionWriter, ruleTopics } from "./partition-writer.ts";

export interface SessionDeps {
  readonly stream: Stream;
  readonly topic: string;
  readonly namespace: string;
  readonly rules: readonly Rule[];
  readonly brokers: string;
  readonly pool: DuckPool;
  /** Its log reader must not be used for fetches that wait. */
  readonly dedup: DedupSources & { readonly log: LogReader };
  readonly memory: AlertMemory;
  readonly metrics: RuleMetrics;
  /** Receives the records that do not decode. Null where the speed layer writes them. */
  readonly deadLetters: Pick<DeadLetters, "send"> | null;
  readonly logger: Logger;
  /** Called with a rule's error, or with null when the rule continues. */
  readonly onRule: (rule: Rule, error: TidelineError | null) => void;
  /** Called after each step of a lane that succeeded. */
  readonly onStep: () => void;
  /** Told about each partition that cannot be read, and when it can be read again. */
  readonly watch: FetchWatch;
}

/** A rule that is further behind the others than this reads in a lane of its own. */
const FAR_BEHIND_OFFSETS = 200_000n;
/** How long a rule whose SQL failed waits before it reads the same events again. */
const STOPPED_FOR_MS = 30_000;
const LINGER_MS = 100;
/** A micro-batch with this many records means that more of the log is waiting. The next one is read at once. */
const FULL_BATCH_RECORDS = 5_000;
/** Partitions without a leader are left out. The session looks for them again after this long. */
const LEADERLESS_FOR_MS = 10_000;

interface OpenLane {
  readonly lane: RuleLane;
  readonly log: LogReader;
  readonly duck: Duck;
}

/** The rules of a stream on some of its partitions. A session lasts until the partitions of this process change. */
export class RuleSession {
  readonly #deps: SessionDeps;
  readonly #info: TopicInfo;
  readonly #writers: ReadonlyMap<number, PartitionWriter>;
  readonly #failed = new AbortController();
  /** Aborted when the session failed or is no longer wanted. */
  readonly #signal: AbortSignal;
  readonly #lanes = new Set<Promise<void>>();
  /** The lane of the rules that are not far behind. A rule that has caught up joins it. */
  #main: RuleLane | null = null;

  private constructor(
    deps: SessionDeps,
    info: TopicInfo,
    writers: ReadonlyMap<number, PartitionWriter>,
    stopping: AbortSignal,
  ) {
    this.#deps = deps;
    this.#info = info;
    this.#writers = writers;
    this.#signal = AbortSignal.any([stopping, this.#failed.signal]);
    setMaxListeners(0, this.#signal);
  }

  /**
   * Works on `partitions` until `stopping` is aborted. Throws when something fails; a new session then begins at the
   * committed positions. Throws TOPIC_MISSING and NOT_READY at once.
   */
  static async run(deps: SessionDeps, partitions: readonly number[], stopping: AbortSignal): Promise<void> {
    const { dedup, topic, stream, brokers, namespace } = deps;
    const info = await dedup.log.topic(topic);
    const { leaderless: unread } = await dedup.log.readableBounds(topic);
    const readable = partitions.filter((partition) => !unread.includes(partition));
    const topics = await ruleTopics(dedup.log, namespace);
    const name = topicName(namespace, stream.name);
    const writers = new Map<number, PartitionWriter>();
    const leaderless = readable.length < partitions.length ? [AbortSignal.timeout(LEADERLESS_FOR_MS)] : [];
    const session = new RuleSession(deps, info, writers, AbortSignal.any([stopping, ...leaderless]));
    try {
      const opened = readable.map(async (partition) => {
        const options = { brokers, name, stream: stream.name, partition, topics };
        writers.set(partition, await PartitionWriter.open(options));
      });
      for (const one of await Promise.allSettled(opened)) if (one.status === "rejected") throw one.reason;
      // Read the positions only now: no other process can change them any more.
      const stored = await readRulePositions(dedup.log, topics.positions, stopping);
      // Read the bounds after the positions: the previous owner of a partition may have read on until now.
      const bounds = await dedup.log.bounds(topic, readable);
      const tracks = await session.#begin([...stored.values()], bounds);
      await session.#work(tracks);
    } finally {
      await Promise.all([...writers.values()].map((writer) => writer.close()));
    }
  }

  /** Returns the rules that can continue, each with its positions. Writes the first positions of new rules. */
  async #begin(all: readonly RulePositions[], bounds: LogBounds): Promise<RuleTrack[]> {
    const { stream, rules, onRule } = this.#deps;
    const stored = all.filter((one) => one.stream === stream.name);
    const tracks = new Map<Rule, RuleTrack>(rules.map((rule) => [rule, { rule, positions: new Map() }]));
    for (const [partition, writer] of this.#writers) {
      const known = stored.find((one) => one.partition === partition);
      if (known !== undefined) writer.adopt(known.rules);
      const begun = new Map<string, RulePosition>();
      for (const [rule, track] of tracks) {
        const log = { start: at(bounds.start, partition), stable: at(bounds.stable, partition) };
        const topic = { topicId: this.#info.id, partitions: this.#info.partitions.length };
        const { isNew, ...held } = startOf({ rule: rule.name, from: rule.from, partition, stored, ...log, ...topic });
        const error =
          held.topicId === topic.topicId ? outside(rule, { partition, next: held.next, ...log }) : recreated(rule);
        if (error !== null) {
          onRule(rule, error);
          tracks.delete(rule);
          continue;
        }
        track.positions.set(partition, held.next);
        if (isNew) begun.set(rule.name, held);
      }
      if (begun.size > 0) await writer.begin(begun);
    }
    for (const rule of tracks.keys()) onRule(rule, null);
    return [...tracks.values()];
  }

  async #work(tracks: readonly RuleTrack[]): Promise<void> {
    const front = new Map<number, Position>();
    for (const { positions } of tracks)
      for (const [partition, held] of positions) if (held > at(front, partition)) front.set(partition, held);
    const isFar = ({ positions }: RuleTrack) => distance(positions, front) > FAR_BEHIND_OFFSETS;
    const main = await this.#open(tracks.filter((track) => !isFar(track)));
    this.#main = main.lane;
    this.#start(main);
    for (const track of tracks.filter(isFar)) this.#startAlone(track);
    // A lane may start another lane.
    while (this.#lanes.size > 0) await Promise.all(this.#lanes);
    if (this.#failed.signal.aborted) throw this.#failed.signal.reason;
  }

  async #open(tracks: readonly RuleTrack[]): Promise<OpenLane> {
    const { brokers, topic, pool, stream, dedup, memory, metrics, deadLetters } = this.#deps;
    const log = new LogReader({ brokers, clientId: `tideline-rules-${topic}`, watch: this.#deps.watch });
    const duck = await pool.connect();
    const deps = {
      ...{
        stream,
        topic,
        topicId: this.#info.id,
        partitions: [...this.#writers.keys()],
        log,
        duck,
        dedup,
        memory,
        metrics,
        deadLetters,
      },
      writers: this.#writers,
      signal: this.#signal,
      nowMs: Date.now,
      onFailed: (track: RuleTrack, error: TidelineError) => {
        this.#deps.onRule(track.rule, error);
        this.#startAlone(track, STOPPED_FOR_MS);
      },
    };
    const lane = await RuleLane.open(deps, tracks).catch(async (error: unknown) => {
      duck.closeSync();
      await log.close();
      throw error;
    });
    return { lane, log, duck };
  }

  /** Starts a lane of its own for a rule, after a while. */
  #startAlone(track: RuleTrack, afterMs = 0): void {
    this.#add(async () => {
      await this.#pause(afterMs);
      if (!this.#signal.aborted) await this.#run(await this.#open([track]));
    });
  }

  #start(open: OpenLane): void {
    this.#add(() => this.#run(open));
  }

  /** Runs work until it ends or fails. A failure ends the session. */
  #add(work: () => Promise<void>): void {
    const done = work()
      .catch((error: unknown) => this.#failed.abort(error))
      .finally(() => this.#lanes.delete(done));
    this.#lanes.add(done);
  }

  async #run({ lane, log, duck }: OpenLane): Promise<void> {
    try {
      while (!this.#signal.aborted && (lane === this.#main || lane.tracks.size > 0)) {
        const records = await lane.step();
        for (const { rule } of lane.tracks) this.#deps.onRule(rule, null);
        this.#deps.onStep();
        this.#regroup(lane);
        // While few records come, pause, so that a few larger micro-batches replace many small ones. An alert may wait
        // that long.
        if (records > 0 && records < FULL_BATCH_RECORDS) await this.#pause(LINGER_MS);
      }
    } finally {
      lane.close();
      duck.closeSync();
      await log.close();
    }
  }

  async #pause(durationMs: number): Promise<void> {
    await pause(durationMs, { signal: this.#signal });
  }

  /** Moves the rules of another lane to the main lane once they have read as far as it has. */
  #regroup(lane: RuleLane): void {
    const main = this.#main;
    if (main === null || lane === main || !cutReached(lane.front, main.front)) return;
    for (const track of lane.tracks) {
      lane.giveUp(track);
      main.takeIn(track);
      this.#deps.logger.info({ rule: track.rule.name }, "caught up: reads with the others");
    }
  }
}

/** The largest distance to `front` in any partition, in offsets. */
function distance(positions: Cut, front: Cut): bigint {
  return [...front].reduce((most, [partition, held]) => {
    const behind = held - at(positions, partition);
    return behind > most ? behind : most;
  }, 0n);
}

function restartHint(name: string): string {
  return (
    `Decide where the rule begins again; until then it opens no alerts. \`tideline rules restart ${name} --at end\` ` +
    "skips what it has not read, --at start reads the whole log again (alerts that exist are not opened twice)."
  );
}

function recreated({ name, on }: Rule): TidelineError {
  return new TidelineError(
    "TOPIC_RECREATED",
    `${name}: the topic of stream ${on.name} was deleted and made again after the rule had read it`,
    restartHint(name),
  );
}

function outside(
  { name }: Rule,
  place: { readonly partition: number; readonly next: Position; readonly start: Position; readonly stable: Position },
): TidelineError | null {
  const { partition, next, start, stable } = place;
  if (next < start)
    return new TidelineError(
      "LOG_LOST",
      `${name}: Kafka has deleted [${next}, ${start}) of partition ${partition} before the rule had read it`,
      restartHint(name),
    );
  if (next <= stable) return null;
  return new TidelineError(
    "LOG_TRUNCATED",
    `${name}: partition ${partition} ends at ${stable}, below ${next}, which the rule had reached`,
    restartHint(name),
  );
}
