import { createHash } from "node:crypto";
import { at, type Position, position } from "../core/position.ts";
import type { Mark } from "../store/chain-state.ts";
import type { FetchedPartition, LogBounds, LogSource } from "../store/log.ts";
import { logLost, logRewritten, logTruncated, topicRecreated } from "../store/log-errors.ts";

/** Identifies one record: its key and value, and where it lies. */
function recordHash(key: Buffer | null, value: Buffer | null): string {
  const hash = createHash("sha256");
  for (const part of [key, value]) hash.update(part === null ? "-" : `${part.length}:`).update(part ?? "");
  return hash.digest("hex").slice(0, 16);
}

/** The mark after a fetch: its last record; null when it held none (the old mark stays). */
export function markOf(fetched: FetchedPartition, topicId: string): Mark | null {
  const { records } = fetched;
  if (records.length === 0) return null;
  const last = records.length - 1;
  const offset = records.offset(last);
  const hash = recordHash(records.key(last), records.value(last));
  return { offset, hash, leaderEpoch: fetched.leaderEpoch, topicId };
}

/**
 * Is this still the log that the state was built from (invariant 10)? Throws TOPIC_RECREATED, LOG_LOST or LOG_TRUNCATED; a mark that the
 * log no longer holds cannot be compared, and the position alone decides.
 */
export async function verifyLog(options: {
  log: LogSource;
  topic: string;
  topicId: string;
  bounds: LogBounds;
  partition: number;
  applied: Position;
  mark: Mark | null;
}): Promise<void> {
  const { log, topic, topicId, bounds, partition, applied, mark } = options;
  const start = at(bounds.start, partition);
  const end = at(bounds.stable, partition);
  if (mark !== null && mark.topicId !== topicId) throw topicRecreated(topic, mark.topicId, topicId);
  if (applied < start) throw logLost(topic, partition, applied, start);
  if (applied > end) throw logTruncated(topic, partition, applied, end);
  if (mark === null || mark.offset < start || mark.offset >= end) return;
  const [found] = await log.fetch(topic, new Map([[partition, mark.offset]]), { maxWaitMs: 500, maxBytes: 1_048_576 });
  const index = found?.records.offsets.indexOf(position(mark.offset)) ?? -1;
  const same =
    found !== undefined && index >= 0 && recordHash(found.records.key(index), found.records.value(index)) === mark.hash;
  if (!same) throw logRewritten(topic, partition, mark.offset);
}
