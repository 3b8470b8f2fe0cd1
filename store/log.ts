import { setTimeout as delay } from "node:timers/promises";
import { ConnectionPool, Consumer } from "@platformatic/kafka";
import { at, type Cut, type EpochMs, type Position, position } from "../core/position.ts";
import { batchesOf, expandLimits, type FetchedBatch, type FetchedBytes, fetchApi } from "./fetch-answer.ts";
import { isOutOfRange, isUnknownTopic, logLost, logTruncated, topicMissing } from "./log-errors.ts";
import { Records } from "./records.ts";

/** A topic as the log knows it. A topic that is deleted and made again has another id (invariant 10). */
export interface TopicInfo {
  readonly id: string;
  readonly partitions: readonly number[];
}

/** Where a topic's partitions begin, and how far committed data goes (last stable offset). */
export interface LogBounds {
  readonly start: Cut;
  readonly stable: Cut;
}

/** What one fetch gave of one partition: every committed record of `[from, to)`. */
export interface FetchedPartition {
  readonly partition: number;
  readonly from: Position;
  /** The next position to read: after control records and aborted data too. Equal to `from` when nothing came. */
  readonly to: Position;
  readonly records: Records;
  /** Offsets of control records: they carry nothing, but are part of the span. */
  readonly control: readonly Position[];
  readonly leaderEpoch: number;
  readonly logStart: Position;
  readonly stable: Position;
  /** Wall clock when the broker's answer came, for freshness. */
  readonly fetchedAtMs: EpochMs;
}

export interface FetchLimits {
  /** How long the broker may wait for data when there is none. */
  readonly maxWaitMs: number;
  readonly maxBytes: number;
}

/** What the layers read: Kafka, or a log in memory. Fetches and bounds are of committed data. */
export interface LogSource {
  /** Throws TOPIC_MISSING when there is no such topic. */
  topic(topic: string): Promise<TopicInfo>;
  bounds(topic: string): Promise<LogBounds>;
  /** One fetch of every partition that `positions` names. */
  fetch(topic: string, positions: Cut, limits: FetchLimits): Promise<FetchedPartition[]>;
  /** As `readSpan`. */
  read(
    topic: string,
    partition: number,
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): AsyncGenerator<FetchedPartition>;
}

const CONTROL_BATCH = 0x20;
const TRANSACTIONAL_BATCH = 0x10;
const ABORT_MARKER = 0;
const READ_COMMITTED = 1;
const EARLIEST = -2n;
const LATEST = -1n;
/** How often a fetch below the last stable offset may come back empty before the log is taken to have lost it; each waits. */
const EMPTY_FETCHES = 20;

/** The brokers in a comma-separated list, as host and port. */
export function parseBrokers(brokers: string): { host: string; port: number }[] {
  return brokers.split(",").map((address) => {
    const [host = "", port = "9092"] = address.trim().split(":");
    return { host, port: Number(port) };
  });
}

/**
 * Reads Kafka from explicit positions, without a group. One reader does one fetch at a time: a broker serves a connection's requests in
 * order, so a fetch that waits for data holds up whatever is behind it.
 */
export class LogReader implements LogSource {
  readonly #consumer: Consumer;
  readonly #pool: ConnectionPool;

  constructor(options: { brokers: string; clientId: string }) {
    const { brokers, clientId } = options;
    this.#consumer = new Consumer({
      clientId,
      groupId: `${clientId}-reader`,
      bootstrapBrokers: parseBrokers(brokers),
      retries: 2,
      retryDelay: 200,
    });
    this.#pool = new ConnectionPool(`${clientId}-fetch`);
  }

  /** Throws TOPIC_MISSING when there is no such topic. */
  async topic(topic: string): Promise<TopicInfo> {
    const metadata = await this.#metadata(topic, true);
    return { id: metadata.id, partitions: metadata.partitions.map((_, partition) => partition) };
  }

  async bounds(topic: string): Promise<LogBounds> {
    const ask = async (timestamp: bigint) => {
      await this.#metadata(topic, true);
      const offsets = await this.#consumer.listOffsets({ topics: [topic], timestamp, isolationLevel: READ_COMMITTED });
      return new Map((offsets.get(topic) ?? []).map((offset, partition) => [partition, position(offset)]));
    };
    return { start: await ask(EARLIEST), stable: await ask(LATEST) };
  }

  /** One fetch of every partition that `positions` names. Throws on network errors: the caller decides when to try again. */
  async fetch(topic: string, positions: Cut, limits: FetchLimits): Promise<FetchedPartition[]> {
    const metadata = await this.#metadata(topic, false);
    const leaders = new Map<number, number[]>();
    for (const partition of positions.keys()) {
      const leader = metadata.partitions[partition]?.leader ?? -1;
      leaders.set(leader, [...(leaders.get(leader) ?? []), partition]);
    }
    const answers = await Promise.all(
      [...leaders].map(([leader, partitions]) => this.#fetchFrom(leader, metadata.id, partitions, positions, limits)),
    );
    return answers.flat().sort((a, b) => a.partition - b.partition);
  }

  read(
    topic: string,
    partition: number,
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): AsyncGenerator<FetchedPartition> {
    return readSpan(this, topic, partition, from, to, maxBytes, signal);
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.close(), this.#consumer.close(true)]);
  }

  async #metadata(topic: string, fresh: boolean) {
    const metadata = await this.#consumer.metadata({ topics: [topic], forceUpdate: fresh }).catch((error: unknown) => {
      throw isUnknownTopic(error) ? topicMissing(topic, error) : error;
    });
    const found = metadata.topics.get(topic);
    if (found === undefined) throw topicMissing(topic);
    return { ...found, brokers: metadata.brokers };
  }

  async #fetchFrom(
    leader: number,
    topicId: string,
    partitions: number[],
    positions: Cut,
    limits: FetchLimits,
  ): Promise<FetchedPartition[]> {
    const { brokers } = await this.#consumer.metadata({ topics: [] });
    const broker = brokers.get(leader);
    if (broker === undefined) throw new Error(`no leader for partitions ${partitions.join(", ")}`);
    const connection = await this.#pool.get(broker);
    const asked = partitions.map((partition) => ({
      partition,
      currentLeaderEpoch: -1,
      fetchOffset: at(positions, partition),
      lastFetchedEpoch: -1,
      partitionMaxBytes: Math.ceil(limits.maxBytes / partitions.length),
    }));
    const { maxWaitMs, maxBytes } = limits;
    // Not the client's own `fetch`: its filter lets aborted records through when their marker is not in the same answer.
    const answer = await fetchApi.async(
      connection,
      maxWaitMs,
      1,
      maxBytes,
      READ_COMMITTED,
      0,
      0,
      [{ topicId, partitions: asked }],
      [],
      "",
    );
    const fetchedAtMs = Date.now();
    return answer.map((part) => {
      const from = at(positions, part.partitionIndex);
      const batches = batchesOf(part.batches, from, expandLimits(maxBytes / partitions.length));
      return fetchedPartition({ ...part, batches }, from, fetchedAtMs);
    });
  }
}

/** One partition's answer to a fetch from `from`: its committed records. */
export function fetchedPartition(
  answer: Omit<FetchedBytes, "batches"> & { readonly batches: readonly FetchedBatch[] },
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
    leaderEpoch: batches.at(-1)?.leaderEpoch ?? -1,
    logStart: position(answer.logStartOffset),
    stable: position(answer.lastStableOffset),
    fetchedAtMs,
  };
}

/**
 * Every record of `[from, to)` of one partition, a fetch at a time; `to` is at most the last stable offset. Throws LOG_LOST when the log
 * begins after `from`, LOG_TRUNCATED when it ends before `to`, and the signal's reason when that is aborted.
 */
export async function* readSpan(
  log: Pick<LogSource, "fetch" | "bounds">,
  topic: string,
  partition: number,
  from: Position,
  to: Position,
  maxBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<FetchedPartition> {
  let next = from;
  for (let empty = 0; next < to; ) {
    signal?.throwIfAborted();
    const [fetched] = await log
      .fetch(topic, new Map([[partition, next]]), { maxWaitMs: 500, maxBytes })
      .catch(async (error: unknown) => {
        throw isOutOfRange(error) ? await outOfRange(log, topic, partition, next) : error;
      });
    if (fetched === undefined || fetched.to === next) {
      empty += 1;
      if (empty >= EMPTY_FETCHES) throw logTruncated(topic, partition, to, fetched?.stable ?? next);
      await delay(20);
      continue;
    }
    empty = 0;
    yield upTo(fetched, to);
    next = fetched.to;
  }
}

async function outOfRange(
  log: Pick<LogSource, "bounds">,
  topic: string,
  partition: number,
  needed: Position,
): Promise<Error> {
  const { start, stable } = await log.bounds(topic);
  const begin = at(start, partition);
  return begin > needed
    ? logLost(topic, partition, needed, begin)
    : logTruncated(topic, partition, needed, at(stable, partition));
}

/**
 * Splits batches into committed data and control batches. Kafka lists the aborted transactions by the offset at which each began; it goes on
 * until that producer's abort marker, which may lie beyond this answer (as in the Java client's CompletedFetch).
 */
export function committedBatches(
  batches: readonly FetchedBatch[],
  aborted: readonly { producerId: bigint; firstOffset: bigint }[],
) {
  const pending = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset));
  const open = new Set<bigint>();
  const committed: FetchedBatch[] = [];
  const control: FetchedBatch[] = [];
  for (const batch of batches) {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    while (pending[0] !== undefined && pending[0].firstOffset <= last) open.add(pending.shift()?.producerId ?? -1n);
    if ((batch.attributes & CONTROL_BATCH) !== 0) {
      control.push(batch);
      if (Records.parse([batch.records], position(0)).key(0)?.readInt16BE(2) === ABORT_MARKER)
        open.delete(batch.producerId);
    } else if ((batch.attributes & TRANSACTIONAL_BATCH) === 0 || !open.has(batch.producerId)) {
      committed.push(batch);
    }
  }
  return { committed, control };
}

/** After the last batch, also when all its records were filtered or compacted away. */
function nextPosition(batches: readonly FetchedBatch[], from: Position): Position {
  const last = batches.at(-1);
  if (last === undefined) return from;
  const next = last.firstOffset + BigInt(last.lastOffsetDelta) + 1n;
  return position(next > from ? next : from);
}

/** The part of a fetch below `to`. */
function upTo(fetched: FetchedPartition, to: Position): FetchedPartition {
  if (fetched.to <= to) return fetched;
  const control = fetched.control.filter((offset) => offset < to);
  return { ...fetched, to, records: fetched.records.below(to), control };
}
