import type { EpochMs, Position } from "./position.ts";

/** What a topic keeps; null: without limit. */
export interface RetentionLimits {
  readonly retentionMs: number | null;
  /** Of each partition. */
  readonly retentionBytes: number | null;
}

/** A partition's log, and from where on somebody still needs it. */
export interface NeededLog {
  readonly partition: number;
  readonly start: Position;
  /** How far committed data goes. */
  readonly stable: Position;
  readonly needed: Position;
  /** For what: `what is not archived yet`, or `what view revenue would read again`. */
  readonly purpose: string;
  /** When the first record at or after `start`, and at or after `needed`, was written; null when there is none. */
  readonly startAtMs: EpochMs | null;
  readonly neededAtMs: EpochMs | null;
  /** Of the largest replica. */
  readonly sizeBytes: number;
}

/** What Kafka will delete first of what is still needed. */
export interface RetentionRisk {
  readonly partition: number;
  readonly needed: Position;
  readonly purpose: string;
  /** 0 when it may be gone already. Kafka deletes whole segments, so it can take longer. */
  readonly secondsLeft: number;
}

/**
 * When Kafka may delete something that is still needed; null when it will not. A segment goes when its youngest record
 * is older than `retention.ms`, or when what comes after it is still `retention.bytes` (Kafka's topic settings), so
 * both times are what is left at least: by age from the record itself, by size at the higher of two rates, that since
 * the log's start and that since the record.
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

/** `Kafka will delete what is not archived yet in 3 h`. */
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
