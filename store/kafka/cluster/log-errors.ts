import { TidelineError } from "../../../core/errors.ts";
import type { Position } from "../../../core/log/position.ts";

/** Errors of a log that state was built from (invariant 10). The texts are the same wherever an error is found. */

const ACCEPT =
  "Try to bring the log back first: then everything continues by itself. Otherwise `tideline streams accept-log " +
  "<stream>` shows what is lost, and with --yes continues without it.";

/** What to do about a topic that does not exist. */
export const TOPIC_MISSING_HINT =
  "Run `tideline init`, which creates it, if its stream is new. If the topic was there before, do not create it: a " +
  "new topic is another log, and views would stop with TOPIC_RECREATED. See whether KAFKA_BROKERS and " +
  "TIDELINE_NAMESPACE are right (`tideline config`), and whether Kafka can bring the topic back.";

export function topicMissing(topic: string, cause?: unknown): TidelineError {
  return new TidelineError("TOPIC_MISSING", `there is no topic "${topic}"`, TOPIC_MISSING_HINT, { cause });
}

/** Returns the error that the topic was deleted and created again under the same name. */
export function topicRecreated(topic: string, before: string, now: string): TidelineError {
  return new TidelineError(
    "TOPIC_RECREATED",
    `topic "${topic}" was deleted and made again: what is stored was built from ${before}, the log is now ${now}`,
    "Restore the old topic. Nothing of the new one is counted, answers stay as they were, and other streams " +
      'continue. Without the old topic its views have to begin again: docs/operating.md, "Begin again", has the steps.',
  );
}

/** Returns the error that the log begins after a position that is still needed. */
export function logLost(topic: string, partition: number, needed: Position, start: Position): TidelineError {
  return new TidelineError(
    "LOG_LOST",
    `${topic}/${partition}: the log begins at ${start}, and [${needed}, ${start}) was not read yet`,
    "Raise the topic's retention.ms now, so that no more is lost. If the archive has the records, the next " +
      "settlement goes past them by itself. If it does not, no command skips the gap: docs/operating.md, " +
      '"A log that Kafka lost the beginning of", says what is left to do.',
  );
}

/**
 * Returns the error that a partition which was added later had lost its beginning before it was read. Views that know
 * the topic need it from 0 on.
 */
export function beginningLost(topic: string, partition: number, needed: Position, start: Position): TidelineError {
  return new TidelineError(
    "LOG_LOST",
    `${topic}/${partition}: Kafka had deleted [${needed}, ${start}) before it was archived`,
    "The partition was added after the view began, and its beginning is gone. Raise the stream's " +
      "`revision`: its views are then built from where the archive begins.",
  );
}

/** Returns the error that the log ends before a position that it had reached. */
export function logTruncated(topic: string, partition: number, needed: Position, end: Position): TidelineError {
  return new TidelineError(
    "LOG_TRUNCATED",
    `${topic}/${partition}: the log ends at ${end}, below ${needed}, which it had reached before`,
    `Look for an unclean leader election or a restored disk: Kafka lost records that were read already. ${ACCEPT}`,
  );
}

/** Returns the error of a partition without a leader, which cannot be read or written. */
export function noLeader(topic: string, partition: number): TidelineError {
  return new TidelineError(
    "LOG_UNREADABLE",
    `${topic}/${partition} has no leader in Kafka: the brokers that hold it are away`,
    "See which broker is down. The other partitions go on; this one does when it has a leader again.",
  );
}

/** Returns the error that the log has another record at an offset that was read before. */
export function logRewritten(topic: string, partition: number, offset: Position): TidelineError {
  return new TidelineError(
    "LOG_TRUNCATED",
    `${topic}/${partition}: the record at ${offset} is not the one that was read before`,
    `Look for an unclean leader election or a restored disk: the log was cut off and written again. ${ACCEPT}`,
  );
}

type Searchable = { findBy?: (property: string, value: unknown) => unknown };

/**
 * Whether an error of Kafka's client means that the topic does not exist: by the broker's code, or by its text when the
 * client's metadata lacks the topic.
 */
export function isUnknownTopic(error: unknown): boolean {
  const { findBy } = error as Searchable;
  const coded = (code: string) => findBy?.call(error, "apiId", code);
  if (coded("UNKNOWN_TOPIC_OR_PARTITION") || coded("UNKNOWN_TOPIC_ID")) return true;
  return error instanceof Error && error.message.startsWith("Unknown topic");
}

/** Whether a fetch failed because its position is outside the log. */
export function isOutOfRange(error: unknown): boolean {
  const { findBy } = error as Searchable;
  return Boolean(findBy?.call(error, "apiId", "OFFSET_OUT_OF_RANGE"));
}

/** Whether a fetch failed because its topic or position does not belong to this log. A retry does not solve that. */
export function isAboutTheLog(error: unknown): boolean {
  const { findBy } = error as Searchable;
  return (
    isOutOfRange(error) || ["UNKNOWN_TOPIC_ID", "INCONSISTENT_TOPIC_ID"].some((id) => findBy?.call(error, "apiId", id))
  );
}
