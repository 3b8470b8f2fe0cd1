import { type Match, type OpenedAlert, openedBy } from "../core/alerts/alert.ts";
import type { Stream } from "../core/contract/stream.ts";
import type { Rule } from "../core/definition/rule.ts";
import type { TidelineError } from "../core/errors.ts";
import { at, type Cut, farthest, nearestIn, type Position, positionsBetween } from "../core/log/position.ts";
import type { DeadLetters } from "../store/dead-letters/letter-writer.ts";
import { Decoder } from "../store/decode/decoder.ts";
import { type DedupSources, warmDedups } from "../store/decode/warm-dedup.ts";
import type { Duck } from "../store/duckdb/duck.ts";
import type { FetchedPartition, LogSource } from "../store/kafka/read/log.ts";
import { pause } from "../store/pause.ts";
import type { AlertMemory } from "./alert-memory.ts";
import { evaluate } from "./evaluate.ts";
import type { RuleMetrics } from "./metrics.ts";
import type { PartitionWriter } from "./partition-writer.ts";

/** How long a fetch waits for the first record. */
const IDLE_WAIT_MS = 250;
const FETCH_BYTES = 8 * 1024 * 1024;

/** A rule, and the next offset that it reads of each partition. */
export interface RuleTrack {
  readonly rule: Rule;
  readonly positions: Map<number, Position>;
}

export interface RuleLaneDeps {
  readonly stream: Stream;
  readonly topic: string;
  readonly topicId: string;
  readonly partitions: readonly number[];
  readonly log: LogSource;
  readonly duck: Duck;
  readonly dedup: DedupSources;
  readonly writers: ReadonlyMap<number, Pick<PartitionWriter, "write" | "flush">>;
  readonly memory: AlertMemory;
  readonly metrics: RuleMetrics;
  /**
   * Receives the records that do not decode. Null where the speed layer writes them, because a view reads the stream.
   */
  readonly deadLetters: Pick<DeadLetters, "send"> | null;
  /** Called when a rule's SQL has failed. The rule has left the lane by then. */
  readonly onFailed: (track: RuleTrack, error: TidelineError) => void;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
}

/**
 * A fetch loop for rules of one stream whose positions are close together. It fetches from the smallest position,
 * decodes once, evaluates all rules in one statement, and writes the alerts of each partition and the new positions in
 * one transaction. A rule opens no alerts for records that it has already read.
 */
export class RuleLane {
  readonly #tracks: Set<RuleTrack>;
  readonly #deps: RuleLaneDeps;
  readonly #decoder: Decoder;
  /**
   * The end of the decoder's memory of ids, by partition. Decoding may continue only there; at any other position the
   * ids have to be reloaded first.
   */
  readonly #decoded = new Map<number, Position>();
  /** The end of each partition's log when it was last seen. */
  readonly #ends = new Map<number, Position>();

  private constructor(deps: RuleLaneDeps, decoder: Decoder, tracks: Iterable<RuleTrack>) {
    this.#deps = deps;
    this.#decoder = decoder;
    this.#tracks = new Set(tracks);
  }

  static async open(deps: RuleLaneDeps, tracks: Iterable<RuleTrack>): Promise<RuleLane> {
    return new RuleLane(deps, await Decoder.open(deps.duck, deps.stream, deps.dedup.schemas), tracks);
  }

  /** The rules that this lane reads for. */
  get tracks(): ReadonlySet<RuleTrack> {
    return this.#tracks;
  }

  /** Adds a rule to this lane. The lane reads for it from the rule's own positions on. */
  takeIn(track: RuleTrack): void {
    this.#tracks.add(track);
  }

  /** Removes a rule from this lane. Another lane adds it. */
  giveUp(track: RuleTrack): void {
    this.#tracks.delete(track);
  }

  /** Closes the decoder. Call it before the connection is closed. */
  close(): void {
    this.#decoder.close();
  }

  /** The furthest position that any of its rules has reached, by partition. */
  get front(): Cut {
    return farthest(...[...this.#tracks].map(({ positions }) => positions));
  }

  /**
   * Does one round and returns the number of records read. Throws errors of Kafka, DuckDB and the transaction. After an
   * error the caller begins again at the stored positions.
   */
  async step(): Promise<number> {
    const { log, topic, partitions, writers, signal, nowMs } = this.#deps;
    const wanted = nearestIn(
      partitions,
      [...this.#tracks].map(({ positions }) => positions),
    );
    if (wanted.size === 0) {
      await pause(IDLE_WAIT_MS, { signal });
      return 0;
    }
    await this.#seek(wanted);
    const fetched = await log.fetch(topic, wanted, { maxWaitMs: IDLE_WAIT_MS, maxBytes: FETCH_BYTES });
    const batch = fetched.filter(({ from, to }) => to > from);
    if (batch.length > 0) await this.#work(batch);
    // Needed after a batch too: another partition may have become quiet.
    for (const writer of writers.values()) await writer.flush(nowMs());
    this.#showLag(fetched);
    return batch.reduce((sum, { records }) => sum + records.length, 0);
  }

  async #work(batch: readonly FetchedPartition[]): Promise<void> {
    const { stream, onFailed, memory, metrics, deadLetters, nowMs } = this.#deps;
    for (const { partition } of batch) this.#decoded.delete(partition);
    const { relation, rejected } = await this.#decoder.decode(batch);
    // Send dead letters before the positions move. A dead letter that is written twice counts once.
    if (rejected.length > 0) await deadLetters?.send(this.#deps, rejected);
    for (const { partition, to } of batch) this.#decoded.set(partition, to);
    const tracks = new Map([...this.#tracks].map((track) => [track.rule, track]));
    const { matches, failed } = await evaluate(this.#decoder.statements, [...tracks.keys()], relation);
    for (const [rule, error] of failed) {
      const track = tracks.get(rule);
      if (track === undefined) continue;
      tracks.delete(rule);
      this.#tracks.delete(track);
      onFailed(track, error);
    }
    const isAhead = ({ rule, partition, offset }: Match) =>
      offset >= at(tracks.get(rule)?.positions ?? NONE, partition);
    const opened = openedBy(matches.filter(isAhead), (id) => memory.has(id));
    await Promise.all(batch.map((one) => this.#write(one, opened, [...tracks.values()])));
    // Remember only committed alerts: a repeat of one that was not committed has to be written.
    memory.add(opened.map(({ id }) => id));
    for (const { rule } of opened) metrics.alerts.inc({ rule });
    const oldestMs = Math.min(...batch.map(({ fetchedAtMs }) => fetchedAtMs));
    metrics.seconds.observe({ stream: stream.name }, Math.max(0, nowMs() - oldestMs) / 1_000);
  }

  async #write(
    { partition, to }: FetchedPartition,
    opened: readonly OpenedAlert[],
    tracks: readonly RuleTrack[],
  ): Promise<void> {
    const behind = tracks.filter(({ positions }) => at(positions, partition) < to);
    const moved = new Map(behind.map(({ rule }) => [rule.name, to]));
    const alerts = opened.filter((alert) => alert.partition === partition);
    await this.#deps.writers.get(partition)?.write(alerts, moved, this.#deps.nowMs());
    for (const { positions } of behind) positions.set(partition, to);
  }

  /**
   * Moves the decoder to these positions. After every seek it reloads the ids before the new position (invariant 4).
   */
  async #seek(wanted: Cut): Promise<void> {
    const moved = [...wanted].filter(([partition, wants]) => this.#decoded.get(partition) !== wants);
    if (moved.length === 0) return;
    const { dedup, topic, topicId, stream } = this.#deps;
    for (const [partition] of moved) this.#decoded.delete(partition);
    await this.#decoder.forget(moved.map(([partition]) => partition));
    await warmDedups(dedup, this.#decoder, { topic, topicId, stream, before: new Map(moved) });
    for (const [partition, to] of moved) this.#decoded.set(partition, to);
  }

  /** Sets the lag of each rule. A partition that gave no answer counts up to the last known end of its log. */
  #showLag(fetched: readonly FetchedPartition[]): void {
    for (const { partition, stable } of fetched) this.#ends.set(partition, stable);
    for (const { rule, positions } of this.#tracks) {
      const lag = positionsBetween(positions, this.#ends);
      this.#deps.metrics.lag.set({ rule: rule.name }, Number(lag));
    }
  }
}

const NONE: Cut = new Map();
