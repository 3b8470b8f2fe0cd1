import type { ArchiveEntry, LogContinuation } from "../../core/log/documents.ts";
import { at, type Cut, type Position } from "../../core/log/position.ts";
import type { Reached } from "../kafka/read/log-check.ts";
import { type Mark, markOfTopic } from "../kafka/read/marks.ts";

/**
 * The acceptance of a log that differs from the archive below `from`. From `from` on the log continues the archive.
 * `mark` is the log's last record below `from`.
 */
export interface Continuation {
  readonly from: Position;
  readonly mark: Mark | null;
}

/**
 * The end of a partition's archive, and the record that a log must have below it to continue the archive. The mark is
 * null when no record is archived, or an earlier release archived the last one. Then the position alone decides.
 */
export interface ArchiveTail extends Reached {
  /** Null if no different log was ever accepted. */
  readonly continuation: Continuation | null;
}

/** Returns the tail of a partition's archive, from its entries in order. Null if there are none. */
export function tailOf(entries: readonly ArchiveEntry[], accepted: LogContinuation | null): ArchiveTail | null {
  const end = entries.at(-1);
  if (end === undefined) return null;
  const continuation = accepted === null ? null : continuationOf(accepted);
  const last = lastMarked(entries);
  const { leaderEpoch, topicId } = end;
  const mark = last?.mark === undefined ? null : markOfTopic({ ...last.mark, leaderEpoch }, topicId);
  return { position: end.to, mark: continuedMark(mark, continuation), continuation };
}

/**
 * Returns the entry whose mark counts after successive ones: the last that holds a record, or the last one when none
 * does.
 */
export function lastMarked(entries: readonly ArchiveEntry[]): ArchiveEntry | undefined {
  return entries.findLast(({ records }) => records > 0) ?? entries.at(-1);
}

function continuationOf({ from, mark, topicId }: LogContinuation): Continuation {
  return { from, mark: mark === null ? null : markOfTopic(mark, topicId) };
}

/**
 * Returns the mark for a position at or above a continuation's beginning. A mark below the continuation is replaced by
 * that of the accepted log.
 */
export function continuedMark(mark: Mark | null, continuation: Continuation | null): Mark | null {
  if (continuation === null) return mark;
  return mark === null || mark.offset < continuation.from ? continuation.mark : mark;
}

/**
 * Whether a cut is below a continuation in some partition. From the cut to the continuation only the archive may be
 * read, never the log.
 */
export function belowContinuation(cut: Cut, tails: ReadonlyMap<number, ArchiveTail>): boolean {
  return [...tails].some(
    ([partition, { continuation }]) => continuation !== null && at(cut, partition) < continuation.from,
  );
}
