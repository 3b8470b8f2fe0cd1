import { setTimeout as delay } from "node:timers/promises";
import { isTidelineError, TidelineError } from "../../../core/errors.ts";
import { at, type Cut, type EpochMs, type PartitionSpan, type Position, position } from "../../../core/log/position.ts";
import { ConnectionPool } from "../client/client.ts";
import { CONNECT_TIMEOUT_MS, KafkaCluster } from "../cluster/kafka-cluster.ts";
import { isAboutTheLog, isOutOfRange, logLost, logTruncated, noLeader } from "../cluster/log-errors.ts";
import { answered, closeConnections } from "../cluster/silent-broker.ts";
import { type FetchedBytes, fetchApi, fetchRequest, partitionError } from "./fetch-answer.ts";
import { FetchTurns, type LeaderShare, planFetch } from "./fetch-plan.ts";
import { batchesOf, committedBatches, expandLimits, type FetchedBatch, nextPosition } from "./record-batch.ts";
import { Records } from "./records.ts";

/** A topic in the log. A topic that is deleted and created again has another id (invariant 10). */
export interface TopicInfo {
  readonly id: string;
  readonly partitions: readonly number[];
}

/** The start of each partition, and the end of its committed data (last stable offset). */
export interface LogBounds {
  readonly start: Cut;
  readonly stable: Cut;
}

/** The bounds of the partitions that can be read, and the partitions that cannot. */
export interface ReadableBounds extends LogBounds {
  readonly leaderless: readonly number[];
}

/** The part of a fetch for one partition: every committed record of `[from, to)`. */
export interface FetchedPartition {
  readonly partition: number;
  readonly from: Position;
  /**
   * The next position to read, which is also after control records and aborted data. Equal to `from` when there was no
   * data.
   */
  readonly to: Position;
  readonly records: Records;
  /** Offsets of control records. They have no data, but are part of the span. */
  readonly control: readonly Position[];
  /** The leader epochs of the first and of the last batch. -1 when there was no data. */
  readonly firstLeaderEpoch: number;
  readonly leaderEpoch: number;
  readonly logStart: Position;
  readonly stable: Position;
  /** The wall-clock time of the broker's answer, for freshness. */
  readonly fetchedAtMs: EpochMs;
}

export interface FetchLimits {
  /** How long the broker may wait for data when there is none. */
  readonly maxWaitMs: number;
  readonly maxBytes: number;
}

/** The log that both layers read: Kafka, or a log in memory. Fetches and bounds are of committed data. */
export interface LogSource {
  /** Throws TOPIC_MISSING when there is no such topic. */
  topic(topic: string): Promise<TopicInfo>;
  /** Returns the bounds of these partitions. Absent: of all. Throws LOG_UNREADABLE when one of them has no leader. */
  bounds(topic: string, partitions?: readonly number[]): Promise<LogBounds>;
  /** Returns the bounds of the partitions that have a leader. */
  readableBounds(topic: string): Promise<ReadableBounds>;
  /** Does one fetch of every partition in `positions`. */
  fetch(topic: string, positions: Cut, limits: FetchLimits): Promise<FetchedPartition[]>;
  /** The same as `readSpan`. */
  read(topic: string, span: PartitionSpan, limits: ReadLimits): AsyncGenerator<FetchedPartition>;
}

export interface ReadLimits {
  /** The limit of one fetch. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
}

const EARLIEST = -2n;
const LATEST = -1n;
/**
 * The most empty fetches below a position that the log had reached. After that it is an error. Each fetch waits for
 * data.
 */
const EMPTY_FETCHES = 20;
/** A broker that does not answer for this long, in addition to the time it may wait for data, has vanished. */
const SILENCE_MS = 30_000;
/** How often a damaged batch is fetched. Most are damaged on their way. */
const CORRUPT_FETCHES = 3;

/** Shows people the partitions that could not be read while others of the same fetch could. */
export interface FetchWatch {
  failed(topic: string, partition: number, error: Error): void;
  answered(topic: string, partition: number): void;
}

const UNWATCHED: FetchWatch = { failed: () => undefined, answered: () => undefined };

/** The result of one partition's part of a fetch. */
type PartitionOutcome =
  | { readonly partition: number; readonly fetched: FetchedPartition }
  | { readonly partition: number; readonly error: Error };

/**
 * Reads Kafka from explicit positions, without a group. One reader does one fetch at a time, because a broker serves a
 * connection's requests in order, and a fetch that waits for data delays all later requests.
 */
export class LogReader implements LogSource {
  readonly #cluster: KafkaCluster;
  readonly #pool: ConnectionPool;
  readonly #watch: FetchWatch;
  readonly #turns = new Map<string, FetchTurns>();
  /** By a broker's address, the time on the monotonic clock until which it accepts no request of ours. */
  readonly #throttledUntilMs = new Map<string, number>();

  constructor(options: { brokers: string; clientId: string; watch?: FetchWatch }) {
    const { brokers, clientId, watch = UNWATCHED } = options;
    this.#cluster = new KafkaCluster(brokers, clientId);
    const limits = { connectTimeout: CONNECT_TIMEOUT_MS, requestTimeout: 4 * SILENCE_MS };
    this.#pool = new ConnectionPool(`${clientId}-fetch`, limits);
    this.#watch = watch;
  }

  async topic(topic: string): Promise<TopicInfo> {
    const { id, leaders } = await this.#cluster.topic(topic, { fresh: true });
    return { id, partitions: leaders.map((_, partition) => partition) };
  }

  async bounds(topic: string, partitions?: readonly number[]): Promise<LogBounds> {
    const at = async (timestamp: bigint) => {
      const offsets = await this.#cluster.offsets(topic, timestamp, partitions);
      return new Map(
        [...offsets].sort(([a], [b]) => a - b).map(([partition, offset]) => [partition, position(offset)]),
      );
    };
    return { start: await at(EARLIEST), stable: await at(LATEST) };
  }

  /**
   * Returns the first position of each of these partitions whose record has a timestamp of `timeMs` or later; a
   * partition without such a record is missing.
   */
  async positionsAt(topic: string, timeMs: EpochMs, partitions: readonly number[]): Promise<Cut> {
    const found = await this.#cluster.offsets(topic, BigInt(Math.max(0, timeMs)), partitions);
    return new Map([...found].filter(([, offset]) => offset >= 0n).map(([one, offset]) => [one, position(offset)]));
  }

  async readableBounds(topic: string): Promise<ReadableBounds> {
    const { leaders } = await this.#cluster.topic(topic, { fresh: true });
    const all = [...leaders.keys()];
    const leaderless = all.filter((partition) => leaders[partition] === undefined);
    for (const partition of leaderless) this.#watch.failed(topic, partition, noLeader(topic, partition));
    const readable = all.filter((partition) => leaders[partition] !== undefined);
    return { ...(await this.bounds(topic, readable)), leaderless };
  }

  /** Returns the end of each partition, records of open transactions included. */
  async ends(topic: string): Promise<Cut> {
    return new Map([...(await this.#cluster.ends(topic))].map(([partition, offset]) => [partition, position(offset)]));
  }

  /**
   * Does one fetch of every partition in `positions`. A partition that cannot be read is missing from the result and
   * left out for a while, if others can be read. Throws when none can be read, or when a position is outside its log.
   * The caller decides when to try again.
   */
  async fetch(topic: string, positions: Cut, limits: FetchLimits): Promise<FetchedPartition[]> {
    const turns = this.#turnsOf(topic);
    const asked = turns.turn(positions.keys(), performance.now());
    const outcomes = await this.#ask(topic, asked, positions, limits);
    const failed: { readonly partition: number; readonly error: Error }[] = [];
    const fetched: FetchedPartition[] = [];
    for (const outcome of outcomes) {
      if ("error" in outcome) {
        failed.push(outcome);
        turns.failed(outcome.partition, performance.now());
        this.#cluster.forget(topic);
        continue;
      }
      turns.answered(outcome.partition, outcome.fetched.to > outcome.fetched.from);
      this.#watch.answered(topic, outcome.partition);
      fetched.push(outcome.fetched);
    }
    const [first] = failed;
    const verdict = failed.find(({ error }) => isAboutTheLog(error)) ?? (fetched.length === 0 ? first : undefined);
    if (verdict !== undefined) throw verdict.error;
    for (const { partition, error } of failed) this.#watch.failed(topic, partition, error);
    return fetched.sort((a, b) => a.partition - b.partition);
  }

  read(topic: string, span: PartitionSpan, limits: ReadLimits): AsyncGenerator<FetchedPartition> {
    return readSpan(this, topic, span, limits);
  }

  async close(): Promise<void> {
    await Promise.all([closeConnections(this.#pool), this.#cluster.close()]);
  }

  #turnsOf(topic: string): FetchTurns {
    const turns = this.#turns.get(topic) ?? new FetchTurns();
    this.#turns.set(topic, turns);
    return turns;
  }

  /** Asks every leader for its partitions, in the order of `turn`. */
  async #ask(topic: string, turn: readonly number[], positions: Cut, limits: FetchLimits): Promise<PartitionOutcome[]> {
    const { id: topicId, leaders } = await this.#cluster.topic(topic);
    const { shares, partitionBytes, equalBytes, leaderless } = planFetch(turn, leaders, limits.maxBytes);
    const { maxWaitMs } = limits;
    const answers = await Promise.all(
      shares.map((share) =>
        this.#askLeader({ ...share, topic, topicId, positions, partitionBytes, equalBytes, maxWaitMs }),
      ),
    );
    return [...leaderless.map((partition) => ({ partition, error: noLeader(topic, partition) })), ...answers.flat()];
  }

  /** Returns one broker's results for its partitions. Asks for a damaged batch again, alone. */
  async #askLeader(question: LeaderQuestion): Promise<PartitionOutcome[]> {
    let outcomes: PartitionOutcome[];
    try {
      outcomes = await this.#fetchFrom(question);
    } catch (error) {
      return question.partitions.map((partition) => ({ partition, error: error as Error }));
    }
    for (let fetches = 1; fetches < CORRUPT_FETCHES; fetches++) {
      const damaged = outcomes.filter((one) => "error" in one && isTidelineError(one.error, "BATCH_CORRUPT"));
      if (damaged.length === 0) break;
      const partitions = damaged.map(({ partition }) => partition);
      const again = await this.#fetchFrom({ ...question, partitions }).catch(() => damaged);
      outcomes = [...outcomes.filter((one) => !damaged.includes(one)), ...again];
    }
    return outcomes;
  }

  async #fetchFrom(question: LeaderQuestion): Promise<PartitionOutcome[]> {
    const { leader, topic, topicId, partitions, positions, partitionBytes, equalBytes, maxBytes, maxWaitMs } = question;
    const name = `${leader.host}:${leader.port}`;
    const connection = await this.#pool.get(leader);
    const throttledMs = (this.#throttledUntilMs.get(name) ?? 0) - performance.now();
    if (throttledMs > 0) await delay(throttledMs);
    // The client's own `fetch` is not used: its filter lets aborted records through when their marker is not in the
    // same answer.
    const asked = fetchApi.async(
      connection,
      ...fetchRequest({
        topicId,
        partitions: partitions.map((partition) => ({ partition, fetchOffset: at(positions, partition) })),
        maxWaitMs,
        maxBytes,
        partitionMaxBytes: partitionBytes,
      }),
    );
    const answer = await answered(connection, asked, maxWaitMs + SILENCE_MS);
    const fetchedAtMs = Date.now();
    this.#throttledUntilMs.set(name, performance.now() + answer.throttledMs);
    return answer.partitions.map((part) => {
      const partition = part.partitionIndex;
      try {
        if (part.errorCode !== 0) throw partitionError(part);
        const from = at(positions, partition);
        // The limit of expanded bytes follows from the sizes that were received, not from the sizes that each partition
        // could have had.
        const limits = expandLimits(Math.max(equalBytes, Math.min(partitionBytes, part.batches.length)));
        const batches = batchesOf(part.batches, from, limits, `${topic}/${partition}`);
        return { partition, fetched: fetchedPartition({ ...part, batches }, from, fetchedAtMs) };
      } catch (error) {
        return { partition, error: error as Error };
      }
    });
  }
}

/** The request to one broker, with its limits. */
interface LeaderQuestion extends LeaderShare {
  readonly topic: string;
  readonly topicId: string;
  readonly positions: Cut;
  readonly partitionBytes: number;
  readonly equalBytes: number;
  readonly maxWaitMs: number;
}

/** Returns the committed records in one partition's answer to a fetch from `from`. */
export function fetchedPartition(
  answer: Omit<FetchedBytes, "batches" | "errorCode"> & { readonly batches: readonly FetchedBatch[] },
  from: Position,
  fetchedAtMs: EpochMs,
): FetchedPartition {
  const { batches } = answer;
  const { committed, control } = committedBatches(batches, answer.abortedTransactions);
  return {
    records: Records.parse(
      committed.map(({ records }) => records),
      from,
    ),
    partition: answer.partitionIndex,
    from,
    to: nextPosition(batches, from),
    control: control.flatMap(({ firstOffset }) => (firstOffset >= from ? [position(firstOffset)] : [])),
    firstLeaderEpoch: batches[0]?.leaderEpoch ?? -1,
    leaderEpoch: batches.at(-1)?.leaderEpoch ?? -1,
    logStart: position(answer.logStartOffset),
    stable: position(answer.lastStableOffset),
    fetchedAtMs,
  };
}

/**
 * Yields every record of `[from, to)` of one partition, a fetch at a time. `to` is at most the last stable offset.
 * Throws LOG_LOST when the log begins after `from`, LOG_TRUNCATED when it ends before `to`, NOT_READY when Kafka has
 * the records according to its bounds and does not return them, and the signal's reason when it is aborted.
 */
export async function* readSpan(
  log: Pick<LogSource, "fetch" | "bounds">,
  topic: string,
  { partition, from, to }: PartitionSpan,
  { maxBytes, signal }: ReadLimits,
): AsyncGenerator<FetchedPartition> {
  let next = from;
  for (let empty = 0; next < to; ) {
    signal?.throwIfAborted();
    const [fetched] = await log
      .fetch(topic, new Map([[partition, next]]), { maxWaitMs: 500, maxBytes })
      .catch(async (error: unknown) => {
        throw isOutOfRange(error) ? await outOfRange(log, topic, partition, next) : error;
      });
    if (fetched !== undefined && fetched.to > next) {
      empty = 0;
      yield upTo(fetched, to);
      next = fetched.to;
      continue;
    }
    // An answer without the partition says nothing about its log: the broker throttles us.
    if (fetched !== undefined) empty += 1;
    if (empty >= EMPTY_FETCHES) {
      const stable = fetched?.stable ?? next;
      throw stable < to ? logTruncated(topic, partition, to, stable) : withheld(topic, partition, next);
    }
    await delay(20, undefined, { signal });
  }
}

function withheld(topic: string, partition: number, next: Position): TidelineError {
  return new TidelineError(
    "NOT_READY",
    `${topic}/${partition}: Kafka gives nothing from ${next} on, although its log reaches further`,
    "Look at the log of the broker that leads this partition. Nothing is lost; it is tried again.",
  );
}

async function outOfRange(
  log: Pick<LogSource, "bounds">,
  topic: string,
  partition: number,
  needed: Position,
): Promise<Error> {
  const { start, stable } = await log.bounds(topic, [partition]);
  const begin = at(start, partition);
  return begin > needed
    ? logLost(topic, partition, needed, begin)
    : logTruncated(topic, partition, needed, at(stable, partition));
}

/** Returns the part of a fetch below `to`. */
function upTo(fetched: FetchedPartition, to: Position): FetchedPartition {
  if (fetched.to <= to) return fetched;
  const control = fetched.control.filter((offset) => offset < to);
  return { ...fetched, to, records: fetched.records.below(to), control };
}
