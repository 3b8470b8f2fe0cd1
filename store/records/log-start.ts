import { TidelineError } from "../../core/errors.ts";
import { at, type Cut, type EpochMs, type Position, partitionsOf, position } from "../../core/log/position.ts";
import { parseDuration, parseUrlTime } from "../../core/time.ts";
import type { LogReader } from "../kafka/read/log.ts";

/** The start of reading a topic. */
export type LogStart =
  | { readonly kind: "beginning" }
  | { readonly kind: "last"; readonly records: number }
  | { readonly kind: "time"; readonly timeMs: EpochMs }
  /** Only the partitions in `positions` are read. */
  | { readonly kind: "positions"; readonly positions: Cut };

/**
 * The positions `[from, to)` of the partitions that are read. `to` is the end of the committed data when it was looked
 * up.
 */
export interface LogSpan {
  readonly from: Cut;
  readonly to: Cut;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/** The texts that `parseLogStart` reads, for error messages and help. */
export const LOG_START_FORMS =
  "a time such as 2026-01-31T12:00:00Z, how long ago such as 2h, or positions such as 0:4711,1:80 (partition:offset)";

/**
 * Returns the start that a text describes: a time, a duration before `nowMs`, or positions `partition:offset,…`. Null
 * for any other text.
 */
export function parseLogStart(text: string, nowMs: EpochMs): LogStart | null {
  if (/^\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*$/.test(text)) {
    const places = text.split(",").map((place) => place.split(":"));
    const positions = new Map(places.map(([partition, offset]) => [Number(partition), position(offset ?? 0)]));
    return positions.size === places.length ? { kind: "positions", positions } : null;
  }
  const agoMs = parseDuration(text);
  const timeMs = agoMs === null ? parseUrlTime(text) : nowMs - agoMs;
  return timeMs === null ? null : { kind: "time", timeMs };
}

/** Returns `partition:offset,…`, which `parseLogStart` reads. */
export function positionsText(positions: Cut): string {
  return partitionsOf(positions)
    .map((partition) => `${partition}:${at(positions, partition)}`)
    .join(",");
}

/**
 * Returns the span from `start` to the end of a topic. Throws TOPIC_MISSING, and BAD_REQUEST for positions outside the
 * log.
 */
export async function spanFrom(log: LogReader, topic: string, start: LogStart): Promise<LogSpan> {
  const { start: first, stable: to } = await log.readableBounds(topic);
  switch (start.kind) {
    case "beginning":
      return { from: first, to };
    case "last":
      return { from: await lastRecords(log, topic, { from: first, to }, start.records), to };
    case "time": {
      const found = await log.positionsAt(topic, start.timeMs, [...to.keys()]);
      return { from: new Map([...to].map(([partition, end]) => [partition, found.get(partition) ?? end])), to };
    }
    case "positions":
      for (const [partition, from] of start.positions) requireWithin({ from: first, to }, partition, from);
      return { from: start.positions, to: new Map([...to].filter(([partition]) => start.positions.has(partition))) };
  }
}

function requireWithin({ from, to }: LogSpan, partition: number, wanted: Position): void {
  const end = to.get(partition);
  const begin = at(from, partition);
  if (end !== undefined && wanted >= begin && wanted <= end) return;
  const problem =
    end === undefined
      ? `there is no partition ${partition} that can be read`
      : `partition ${partition} has no offset ${wanted}: its log goes from ${begin} to ${end}`;
  const hint = end === undefined ? `The partitions are ${[...to.keys()].join(", ")}.` : "Give an offset of the log.";
  throw new TidelineError("BAD_REQUEST", problem, hint);
}

/** A partition's last records, in the order of their offsets. */
interface Tail {
  readonly partition: number;
  readonly offsets: readonly Position[];
  readonly timestampsMs: readonly EpochMs[];
  /** The number of these that are not taken yet. */
  left: number;
}

/**
 * Returns the start of the last `count` records of a span. Of all partitions together these are the records with the
 * latest timestamps; of each partition they are an unbroken end of its log.
 */
async function lastRecords(log: LogReader, topic: string, { from, to }: LogSpan, count: number): Promise<Cut> {
  const tails: Tail[] = [];
  for (const partition of to.keys())
    tails.push(
      await lastOfPartition(log, topic, { partition, from: at(from, partition), to: at(to, partition) }, count),
    );
  for (let taken = 0; taken < count; taken++) {
    const next = tails.reduce((best, one) => (newestMs(one) > newestMs(best) ? one : best), NOTHING);
    if (next === NOTHING) break;
    next.left -= 1;
  }
  return new Map(tails.map(({ partition, offsets, left }) => [partition, offsets[left] ?? at(to, partition)]));
}

const NOTHING: Tail = { partition: -1, offsets: [], timestampsMs: [], left: 0 };

function newestMs({ timestampsMs, left }: Tail): EpochMs {
  return left === 0 ? Number.NEGATIVE_INFINITY : (timestampsMs[left - 1] ?? Number.NEGATIVE_INFINITY);
}

/** Reads backwards in growing steps, because offsets are not dense (transaction markers, compaction). */
async function lastOfPartition(
  log: LogReader,
  topic: string,
  { partition, from, to }: { partition: number; from: Position; to: Position },
  count: number,
): Promise<Tail> {
  let [offsets, timestampsMs]: [Position[], EpochMs[]] = [[], []];
  let end = to;
  for (let step = BigInt(count); end > from && offsets.length < count; step *= 4n) {
    const begin = end - step > from ? position(end - step) : from;
    const [found, foundMs]: [Position[], EpochMs[]] = [[], []];
    for await (const { records } of log.read(topic, { partition, from: begin, to: end }, { maxBytes: FETCH_BYTES }))
      for (const [index, offset] of records.offsets.entries()) {
        found.push(offset);
        foundMs.push(records.timestampMs(index));
      }
    [offsets, timestampsMs] = [found.concat(offsets), foundMs.concat(timestampsMs)];
    end = begin;
  }
  const surplus = Math.max(0, offsets.length - count);
  return {
    partition,
    offsets: offsets.slice(surplus),
    timestampsMs: timestampsMs.slice(surplus),
    left: Math.min(count, offsets.length),
  };
}
