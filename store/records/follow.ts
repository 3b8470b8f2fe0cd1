import { isTidelineError } from "../../core/errors.ts";
import { at, type Cut, type Position, partitionsOf, ZERO } from "../../core/log/position.ts";
import { isAboutTheLog, isOutOfRange, logLost, logTruncated } from "../kafka/cluster/log-errors.ts";
import type { FetchedPartition, LogReader } from "../kafka/read/log.ts";
import { pause } from "../pause.ts";
import type { LogSpan } from "./log-start.ts";

export interface Following {
  /** Ends the reading without an error. */
  readonly stop: AbortSignal;
  /** Whether to continue at the log's end, and wait for records. */
  readonly follow: boolean;
  /** Whether to read partitions that are added. */
  readonly grows?: boolean;
  /**
   * Called with the error when Kafka cannot be read. Kafka is asked again every second. Without this function the error
   * is thrown.
   */
  readonly onSilence?: (error: Error) => void;
}

/**
 * The longest wait for records. Kafka answers as soon as it has one, but with several brokers a broker without records
 * delays the others for this long.
 */
const MAX_WAIT_MS = 100;
/** The bytes of one answer. The memory used at once is a small multiple of it. */
const FETCH_BYTES = 1024 * 1024;
const RETRY_MS = 1_000;
/** How often to look for added partitions. */
const LOOK_EVERY_MS = 10_000;

/**
 * Reads a span of a topic, one answer of Kafka at a time, and follows the log after it. Throws LOG_LOST and
 * LOG_TRUNCATED when the log does not have a position any more, and TOPIC_MISSING.
 */
export async function* followTopic(
  log: LogReader,
  topic: string,
  span: LogSpan,
  { stop, follow, grows = false, onSilence }: Following,
): AsyncGenerator<readonly FetchedPartition[]> {
  const positions = new Map(span.from);
  for (let lookedMs = performance.now(); !stop.aborted; ) {
    const open = follow ? positions : below(positions, span);
    if (open.size === 0) return;
    try {
      if (grows && performance.now() - lookedMs > LOOK_EVERY_MS) {
        lookedMs = performance.now();
        for (const partition of (await log.topic(topic)).partitions)
          if (!positions.has(partition)) positions.set(partition, ZERO);
      }
      const fetched = await fetchFrom(log, topic, open);
      for (const { partition, to } of fetched) positions.set(partition, to);
      const wanted = follow
        ? fetched
        : fetched.map((one) => ({ ...one, records: one.records.below(at(span.to, one.partition)) }));
      const filled = wanted.filter(({ records }) => records.length > 0);
      if (filled.length > 0) yield filled;
    } catch (error) {
      if (
        onSilence === undefined ||
        isTidelineError(error, "LOG_LOST", "LOG_TRUNCATED", "TOPIC_MISSING") ||
        isAboutTheLog(error)
      )
        throw error;
      onSilence(error as Error);
      await pause(RETRY_MS, { signal: stop });
    }
  }
}

/** Returns the positions that have not reached the span's end. */
function below(positions: Cut, { to }: LogSpan): Map<number, Position> {
  return new Map([...positions].filter(([partition, reached]) => reached < at(to, partition)));
}

async function fetchFrom(log: LogReader, topic: string, positions: Cut): Promise<FetchedPartition[]> {
  try {
    return await log.fetch(topic, positions, { maxWaitMs: MAX_WAIT_MS, maxBytes: FETCH_BYTES });
  } catch (error) {
    if (!isOutOfRange(error)) throw error;
    const { start, stable } = await log.readableBounds(topic);
    for (const partition of partitionsOf(positions)) {
      const [reached, begin, end] = [at(positions, partition), at(start, partition), at(stable, partition)];
      if (reached < begin) throw logLost(topic, partition, reached, begin);
      if (reached > end) throw logTruncated(topic, partition, reached, end);
    }
    throw error;
  }
}
