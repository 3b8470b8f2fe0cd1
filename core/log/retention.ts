import type { EpochMs, Position } from "./position.ts";

/** The retention limits of a topic. Null: no limit. */
export interface RetentionLimits {
  readonly retentionMs: number | null;
  /** For each partition. */
  readonly retentionBytes: number | null;
}

/** A partition's log, and the position from which on it is still needed. */
export interface NeededLog {
  readonly partition: number;
  readonly start: Position;
  /** The end of the committed data. */
  readonly stable: Position;
  readonly needed: Position;
  /** What needs it: `what is not archived yet`, or `what view revenue would read again`. */
  readonly purpose: string;
  /**
   * The times when the first record at or after `start`, and at or after `needed`, were written. Null if there is none.
   */
  readonly startAtMs: EpochMs | null;
  readonly neededAtMs: EpochMs | null;
  /** The size of the largest replica. */
  readonly sizeBytes: number;
}

/** The data that Kafka will delete first of everything that is still needed. */
export interface RetentionRisk {
  readonly partition: number;
  readonly needed: Position;
  readonly purpose: string;
  /** 0 if it may be deleted already. Kafka deletes whole segments, so it can take longer. */
  readonly secondsLeft: number;
}

/**
 * Returns the data that Kafka may delete first, and when. Null if it will delete nothing that is still needed. A
 * segment is deleted when its youngest record is older than `retention.ms`, or when the data after it is still
 * `retention.bytes` (Kafka's topic settings). So both times are lower bounds: by age, computed from the record itself;
 * by size, at the higher of the rates since the log's start and since the record.
 */
export function retentionRisk(
  limits: RetentionLimits,
  logs: readonly NeededLog[],
  nowMs: EpochMs,
): RetentionRisk | null {
  const risks = logs.flatMap((log) => {
    if (log.needed >= log.stable) return [];
    const secondsLeft = log.needed < log.start ? 0 : Math.min(byAge(limits, log, nowMs), bySize(limits, log, nowMs));
    const { partition, needed, purpose } = log;
    return Number.isFinite(secondsLeft) ? [{ partition, needed, purpose, secondsLeft: Math.max(0, secondsLeft) }] : [];
  });
  return risks.reduce<RetentionRisk | null>(
    (first, risk) => (first === null || risk.secondsLeft < first.secondsLeft ? risk : first),
    null,
  );
}

function byAge({ retentionMs }: RetentionLimits, { neededAtMs }: NeededLog, nowMs: EpochMs): number {
  if (retentionMs === null || neededAtMs === null) return Number.POSITIVE_INFINITY;
  return (neededAtMs + retentionMs - nowMs) / 1_000;
}

function bySize({ retentionBytes }: RetentionLimits, log: NeededLog, nowMs: EpochMs): number {
  if (retentionBytes === null || log.sizeBytes === 0) return Number.POSITIVE_INFINITY;
  const held = Number(log.stable - log.needed) / Math.max(1, Number(log.stable - log.start));
  const neededBytes = log.sizeBytes * held;
  const left = retentionBytes - neededBytes;
  if (left <= 0) return 0;
  const rate = (bytes: number, sinceMs: EpochMs | null) =>
    sinceMs === null ? 0 : bytes / Math.max(1, (nowMs - sinceMs) / 1_000);
  return left / Math.max(rate(log.sizeBytes, log.startAtMs), rate(neededBytes, log.neededAtMs));
}

/** Returns a text such as `Kafka will delete what is not archived yet in 3 h`. */
export function retentionText({ purpose, secondsLeft }: RetentionRisk): string {
  if (secondsLeft === 0) return `Kafka may have deleted ${purpose}`;
  const [amount, unit] =
    secondsLeft < 120
      ? [secondsLeft, "s"]
      : secondsLeft < 7_200
        ? [secondsLeft / 60, "min"]
        : secondsLeft < 172_800
          ? [secondsLeft / 3_600, "h"]
          : [secondsLeft / 86_400, "days"];
  return `Kafka will delete ${purpose} in ${Math.floor(amount)} ${unit}`;
}
