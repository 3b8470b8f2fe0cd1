import { at, type PartitionSpan, type Position, position } from "../../../core/log/position.ts";
import { logRewritten, logTruncated, topicRecreated } from "../cluster/log-errors.ts";
import type { FetchedPartition, LogBounds, LogSource } from "./log.ts";
import { type Mark, recordHash } from "./marks.ts";

/** One record is looked at. A broker returns the whole batch that holds it, however few bytes it is asked for. */
const LIMITS = { maxBytes: 1 };

/** The log that is compared, and its bounds of some moment before. */
export interface ComparedLog {
  readonly log: Pick<LogSource, "read" | "bounds">;
  readonly topic: string;
  readonly topicId: string;
  readonly bounds: LogBounds;
}

/** How far the log of a partition was read, and the last record below; null when that is not known. */
export interface Reached {
  readonly position: Position;
  readonly mark: Mark | null;
}

/**
 * Compares the log with how far it was read before (invariant 10). Two logs that have the same record at one offset
 * have the same records below it, because a log loses its end and nothing else. Throws TOPIC_RECREATED, or
 * LOG_TRUNCATED when the log ends below a position or has something else below it. What the log has deleted cannot be
 * compared, and is passed over.
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

/** An offset below a position that the log has lost or has something else at; null when there is none that is known. */
export async function lostOffset(
  compared: ComparedLog,
  partition: number,
  { position: to, mark }: Reached,
): Promise<Position | null> {
  const { log, topic, bounds } = compared;
  const needed = position(mark === null || to > mark.offset ? to : mark.offset + 1n);
  if (needed > at(bounds.stable, partition)) {
    // It may have grown since its bounds were asked for.
    const end = at((await log.bounds(topic, [partition])).stable, partition);
    if (needed > end) return end;
  }
  if (mark === null) return null;
  const start = at(bounds.start, partition);
  if (mark.offset >= start && !(await holdsRecord(compared, partition, mark))) return mark.offset;
  // Control records and aborted ones may lie between the last record and the position.
  const last = position(needed - 1n);
  if (last > mark.offset && last >= start && !(await holdsEpoch(compared, partition, last, mark))) return last;
  return null;
}

/** The span of one offset. */
function only(partition: number, offset: Position): PartitionSpan {
  return { partition, from: offset, to: position(offset + 1n) };
}

/** Whether the log has the marked record at its offset, which lies within its bounds. */
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
 * Whether the batch at the beginning of a fetch was written after the log lost what was marked. Records that replace
 * lost ones have a later leader epoch than any lost one, and a batch keeps its epoch for ever. A hash alone would take
 * an equal record for the same one.
 */
function isLater({ firstLeaderEpoch }: FetchedPartition, { leaderEpoch }: Mark): boolean {
  return leaderEpoch >= 0 && firstLeaderEpoch > leaderEpoch;
}
