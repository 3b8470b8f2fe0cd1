import type { Generation } from "../../core/definition/generation.ts";
import { isTidelineError } from "../../core/errors.ts";
import { at, type Cut, type EpochMs, type PartitionSpan } from "../../core/log/position.ts";
import { type NeededLog, type RetentionRisk, retentionRisk } from "../../core/log/retention.ts";
import { type TopicRetention, topicRetention } from "../kafka/cluster/topic-retention.ts";
import type { LogSource } from "../kafka/read/log.ts";
import type { Archive } from "./archive.ts";
import type { Manifests } from "./manifests.ts";

export interface RetentionSources {
  readonly brokers: string;
  readonly log: LogSource;
  readonly archive: Archive;
  readonly manifests: Manifests;
}

export interface Retention extends Pick<TopicRetention, "retentionMs" | "retentionBytes"> {
  /** Null when Kafka will delete nothing that is still needed. */
  readonly risk: RetentionRisk | null;
}

/** The most fetches without data records before the time of a record counts as unknown. */
const FETCHES = 5;
const FETCH = { maxWaitMs: 100, maxBytes: 64 * 1024 };

/**
 * Returns when Kafka will delete data of a topic that is still needed: records that are not archived yet, and records
 * after a view's cut, from which its speed layer begins again when Redis is lost. Throws TOPIC_MISSING,
 * TOPIC_RECREATED, NOT_READY.
 */
export async function retentionOf(
  { brokers, log, archive, manifests }: RetentionSources,
  topic: string,
  views: readonly { readonly name: string; readonly generation: Generation }[],
  nowMs: EpochMs = Date.now(),
): Promise<Retention> {
  const { id, partitions } = await log.topic(topic);
  const { start, stable } = await log.readableBounds(topic);
  const { retentionMs, retentionBytes, sizeBytes } = await topicRetention(brokers, topic, partitions);
  if (retentionMs === null && retentionBytes === null) return { retentionMs, retentionBytes, risk: null };
  const needs: { purpose: string; cut: Cut }[] = [
    { purpose: "what is not archived yet", cut: await archive.archived(topic, id) },
  ];
  for (const { name, generation } of views) {
    const newest = await manifests.newest(generation).catch(noneIfDamaged);
    if (newest !== null)
      needs.push({ purpose: `what the speed layer of view ${name} would read again`, cut: newest.cut });
  }
  const logs: NeededLog[] = [];
  // Kafka deletes nothing in a partition without a leader.
  for (const partition of stable.keys()) {
    const bounds = { partition, start: at(start, partition), stable: at(stable, partition) };
    const readable = { partition, to: bounds.stable };
    const startAtMs = await writtenAt(log, topic, { ...readable, from: bounds.start });
    for (const { purpose, cut } of needs) {
      const needed = cut.get(partition) ?? bounds.start;
      if (needed >= bounds.stable) continue;
      const neededAtMs = await writtenAt(log, topic, { ...readable, from: needed });
      logs.push({ ...bounds, needed, purpose, startAtMs, neededAtMs, sizeBytes: sizeBytes.get(partition) ?? 0 });
    }
  }
  return { retentionMs, retentionBytes, risk: retentionRisk({ retentionMs, retentionBytes }, logs, nowMs) };
}

/**
 * Returns null for a manifest that cannot be read. Its view reports that problem, and the check of the others
 * continues.
 */
function noneIfDamaged(error: unknown): null {
  if (isTidelineError(error, "ARCHIVE_DAMAGED")) return null;
  throw error;
}

/** Returns the time when the first record of a span was written. Null when it cannot be read. */
async function writtenAt(
  log: LogSource,
  topic: string,
  { partition, from, to }: PartitionSpan,
): Promise<EpochMs | null> {
  let next = from;
  for (let fetch = 0; fetch < FETCHES && next < to; fetch++) {
    // It may be deleted just now. Then `start` was out of date, and the next check reports it.
    const [fetched] = await log.fetch(topic, new Map([[partition, next]]), FETCH).catch(() => []);
    const [writtenAtMs] = fetched?.records.timestampsMs ?? [];
    if (writtenAtMs !== undefined) return writtenAtMs;
    next = fetched?.to ?? next;
  }
  return null;
}
