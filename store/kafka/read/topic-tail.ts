import { at, type PartitionSpan, position } from "../../../core/log/position.ts";
import type { LogReader } from "./log.ts";

/** The first step of reading backwards from a partition's end. Each step is eight times as long as the one before. */
const firstStep = 8n;
const fetchLimitBytes = 1024 * 1024;

/**
 * Returns `read` of the last committed record of each partition. If `read` returns undefined, because it does not
 * understand the value, the record before is tried. Undefined if no record is understood.
 */
export async function lastOfEachPartition<T>(
  log: LogReader,
  topic: string,
  read: (value: Buffer) => T | undefined,
): Promise<Map<number, T | undefined>> {
  const { start, stable } = await log.bounds(topic);
  const last = new Map<number, T | undefined>();
  for (const partition of stable.keys()) {
    const span = { partition, from: at(start, partition), to: at(stable, partition) };
    last.set(partition, await lastWithin(log, topic, span, read));
  }
  return last;
}

/**
 * Reads backwards in growing steps, because offsets are not dense (transaction markers, compaction) and `read` may not
 * understand every record.
 */
async function lastWithin<T>(
  log: LogReader,
  topic: string,
  { partition, from: start, to: end }: PartitionSpan,
  read: (value: Buffer) => T | undefined,
): Promise<T | undefined> {
  let to = end;
  for (let step = firstStep; to > start; step *= 8n) {
    const from = to - step > start ? position(to - step) : start;
    let last: T | undefined;
    for await (const { records } of log.read(topic, { partition, from, to }, { maxBytes: fetchLimitBytes })) {
      for (const value of records.values) last = (value === null ? undefined : read(value)) ?? last;
    }
    if (last !== undefined) return last;
    to = from;
  }
  return undefined;
}
