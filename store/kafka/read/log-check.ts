import { at, type PartitionSpan, type Position, position } from "../../../core/log/position.ts";
import { logRewritten, logTruncated, topicRecreated } from "../cluster/log-errors.ts";
import type { FetchedPartition, LogBounds, LogSource } from "./log.ts";
import { type Mark, recordHash } from "./marks.ts";

/** The limit for reading one record. A broker returns the whole batch that contains it, however small the limit. */
const LIMITS = { maxBytes: 1 };

/** The log to compare, and its bounds some moments ago. */
export interface ComparedLog {
  readonly log: Pick<LogSource, "read" | "bounds">;
  readonly topic: string;
  readonly topicId: string;
  readonly bounds: LogBounds;
}

/**
 * The position up to which a partition was read, and the last record below it. The record is null when it is not known.
 */
export interface Reached {
  readonly position: Position;
  readonly mark: Mark | null;
}

/**
 * Compares the log with the positions and records that were read before (invariant 10). Two logs with the same record
 * at one offset have the same records below it, because a log loses only its end. Throws TOPIC_RECREATED, or
 * LOG_TRUNCATED when the log ends below a position or has another record below it. Records that the log has deleted
 * cannot be compared, and are skipped.
 */
export async function requireReached(
  compared: ComparedLog,
  reached: Iterable<readonly [partition: number, reached: Reached]>,
): Promise<void> {
  const { topic, topicId } = compared;
  for (const [partition, { position: to, mark }] of reached) {
    if (mark !== null && mark.topicId !== topicId) throw topicRecreated(topic, mark.topicId, topicId);
    const lost = await lostOffset(compared, partition, { position: to, mark });
    if (lost === null) continue;
    const end = at((await compared.log.bounds(topic, [partition])).stable, partition);
    throw lost < end ? logRewritten(topic, partition, lost) : logTruncated(topic, partition, to, end);
  }
}

/**
 * Returns an offset below a position at which the log has no record any more, or another one. Null when no such offset
 * is known.
 */
export async function lostOffset(
  compared: ComparedLog,
  partition: number,
  { position: to, mark }: Reached,
): Promise<Position | null> {
  const { log, topic, bounds } = compared;
  const needed = position(mark === null || to > mark.offset ? to : mark.offset + 1n);
  if (needed > at(bounds.stable, partition)) {
    // The log may have grown since its bounds were read.
    const end = at((await log.bounds(topic, [partition])).stable, partition);
    if (needed > end) return end;
  }
  if (mark === null) return null;
  const start = at(bounds.start, partition);
  if (mark.offset >= start && !(await holdsRecord(compared, partition, mark))) return mark.offset;
  // There may be control records and aborted records between the last record and the position.
  const last = position(needed - 1n);
  if (last > mark.offset && last >= start && !(await holdsEpoch(compared, partition, last, mark))) return last;
  return null;
}

/** Returns the span of one offset. */
function only(partition: number, offset: Position): PartitionSpan {
  return { partition, from: offset, to: position(offset + 1n) };
}

/** Whether the log has the marked record at its offset, which is within its bounds. */
async function holdsRecord(compared: ComparedLog, partition: number, mark: Mark): Promise<boolean> {
  const { log, topic } = compared;
  const { offset, hash } = mark;
  for await (const fetched of log.read(topic, only(partition, offset), LIMITS)) {
    const { records } = fetched;
    if (hash === "") return !isLater(fetched, mark);
    if (records.length === 0 || records.offset(0) !== offset || isLater(fetched, mark)) return false;
    return recordHash(records.key(0), records.value(0)) === hash;
  }
  return false;
}

async function holdsEpoch({ log, topic }: ComparedLog, partition: number, offset: Position, mark: Mark) {
  for await (const fetched of log.read(topic, only(partition, offset), LIMITS)) return !isLater(fetched, mark);
  return false;
}

/**
 * Whether the first batch of a fetch was written after the log lost the marked record. Records that replace lost ones
 * have a later leader epoch than any lost one, and a batch keeps its epoch forever. A hash alone would take an equal
 * record for the same one.
 */
function isLater({ firstLeaderEpoch }: FetchedPartition, { leaderEpoch }: Mark): boolean {
  return leaderEpoch >= 0 && firstLeaderEpoch > leaderEpoch;
}
