import { createHash } from "node:crypto";
import type { LogMark } from "../../../core/log/documents.ts";
import { type Position, position } from "../../../core/log/position.ts";
import type { FetchedPartition } from "./log.ts";

/**
 * The last record that was applied in a partition. If the log has another record there, its end was lost (invariant
 * 10). Stored in documents as `LogMark` (core/log/documents.ts).
 */
export interface Mark {
  readonly offset: Position;
  readonly hash: string;
  readonly leaderEpoch: number;
  readonly topicId: string;
}

/** Returns 16 hexadecimal digits of SHA-256 over a record's key and value, each with its length. */
export function recordHash(key: Buffer | null, value: Buffer | null): string {
  const hash = createHash("sha256");
  for (const part of [key, value]) hash.update(part === null ? "-" : `${part.length}:`).update(part ?? "");
  return hash.digest("hex").slice(0, 16);
}

/** Returns the mark of one record. `leaderEpoch` is the epoch of its batch or of a later batch of the same log. */
export function markOfRecord(
  record: { readonly offset: bigint; readonly key: Buffer | null; readonly value: Buffer | null },
  leaderEpoch: number,
  topicId: string,
): Mark {
  const { offset, key, value } = record;
  return { offset: position(offset), hash: recordHash(key, value), leaderEpoch, topicId };
}

/**
 * Returns the mark after a fetch: its last record. If the fetch had only control and aborted records, it is the record
 * of the mark before with the epoch of the fetch; without a mark before, an epoch alone. Null when the fetch had no
 * data and there was no mark before.
 */
export function markAfter(fetched: FetchedPartition, topicId: string, before: Mark | null): Mark | null {
  const { records, to, leaderEpoch } = fetched;
  if (leaderEpoch < 0) return before;
  if (records.length === 0) return { ...(before ?? markOfEpoch(to, leaderEpoch, topicId)), leaderEpoch };
  const last = records.length - 1;
  const record = { offset: records.offset(last), key: records.key(last), value: records.value(last) };
  return markOfRecord(record, leaderEpoch, topicId);
}

/** Returns the mark of a log without a record below `to`. Only its epoch is compared. */
export function markOfEpoch(to: Position, leaderEpoch: number, topicId: string): Mark {
  return { offset: position(to - 1n), hash: "", leaderEpoch, topicId };
}

/** Returns a mark in the form of documents, which have the topic in another field. */
export function withoutTopic({ offset, hash, leaderEpoch }: Mark): LogMark {
  return { offset, hash, leaderEpoch };
}

/** Returns the mark of a document about this topic. */
export function markOfTopic({ offset, hash, leaderEpoch }: LogMark, topicId: string): Mark {
  return { offset, hash, leaderEpoch, topicId };
}
