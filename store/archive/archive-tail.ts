import type { ArchiveEntry, LogContinuation } from "../../core/log/documents.ts";
import { at, type Cut, type Position } from "../../core/log/position.ts";
import type { Reached } from "../kafka/read/log-check.ts";
import { type Mark, markOfTopic } from "../kafka/read/marks.ts";

/**
 * From `from` on, the log is the continuation of the archive although it differs from it below; `mark` is the log's
 * last record below.
 */
export interface Continuation {
  readonly from: Position;
  readonly mark: Mark | null;
}

/**
 * Where the archive of a partition ends, and what a log must have below that to be its continuation. The mark is null
 * when nothing is known: no record is archived, or an earlier release archived the last one. The position alone decides
 * then.
 */
export interface ArchiveTail extends Reached {
  /** Null when the log was never accepted with a difference. */
  readonly continuation: Continuation | null;
}

/** The tail of a partition's archive: of its entries in order, which are not empty. */
export function tailOf(entries: readonly ArchiveEntry[], accepted: LogContinuation | null): ArchiveTail | null {
  const end = entries.at(-1);
  if (end === undefined) return null;
  const continuation = accepted === null ? null : continuationOf(accepted);
  const last = lastMarked(entries);
  const { leaderEpoch, topicId } = end;
  const mark = last?.mark === undefined ? null : markOfTopic({ ...last.mark, leaderEpoch }, topicId);
  return { position: end.to, mark: continuedMark(mark, continuation), continuation };
}

/** The entry whose mark counts after successive ones: the last that holds a record, or the last one when none does. */
export function lastMarked(entries: readonly ArchiveEntry[]): ArchiveEntry | undefined {
  return entries.findLast(({ records }) => records > 0) ?? entries.at(-1);
}

function continuationOf({ from, mark, topicId }: LogContinuation): Continuation {
  return { from, mark: mark === null ? null : markOfTopic(mark, topicId) };
}

/**
 * The mark that holds for a position at or above a continuation's beginning: a record below that was replaced by the
 * accepted log's.
 */
export function continuedMark(mark: Mark | null, continuation: Continuation | null): Mark | null {
  if (continuation === null) return mark;
  return mark === null || mark.offset < continuation.from ? continuation.mark : mark;
}

/**
 * Whether a cut lies below a continuation in some partition: from there to the continuation the archive is read, never
 * the log.
 */
export function belowContinuation(cut: Cut, tails: ReadonlyMap<number, ArchiveTail>): boolean {
  return [...tails].some(
    ([partition, { continuation }]) => continuation !== null && at(cut, partition) < continuation.from,
  );
}
