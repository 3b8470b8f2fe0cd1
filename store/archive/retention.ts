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

/** How many fetches may find nothing but control records before a record's time counts as unknown. */
const FETCHES = 5;
const FETCH = { maxWaitMs: 100, maxBytes: 64 * 1024 };

/**
 * When Kafka will delete what is still needed of a topic: what is not archived yet, and what lies after a view's cut,
 * where its speed layer begins again when Redis is lost. Throws TOPIC_MISSING, TOPIC_RECREATED, NOT_READY.
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
  // A partition without a leader deletes nothing.
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
 * A manifest that cannot be read is a problem of its view, which says so itself; it does not end the watch over the
 * others.
 */
function noneIfDamaged(error: unknown): null {
  if (isTidelineError(error, "ARCHIVE_DAMAGED")) return null;
  throw error;
}

/** When the first record of a span was written; null when it cannot be read. */
async function writtenAt(
  log: LogSource,
  topic: string,
  { partition, from, to }: PartitionSpan,
): Promise<EpochMs | null> {
  let next = from;
  for (let fetch = 0; fetch < FETCHES && next < to; fetch++) {
    // It may be deleted at this moment: then `start` was out of date, and the next check says so.
    const [fetched] = await log.fetch(topic, new Map([[partition, next]]), FETCH).catch(() => []);
    const [writtenAtMs] = fetched?.records.timestampsMs ?? [];
    if (writtenAtMs !== undefined) return writtenAtMs;
    next = fetched?.to ?? next;
  }
  return null;
}
