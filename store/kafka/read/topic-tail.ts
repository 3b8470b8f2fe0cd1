import { at, type PartitionSpan, position } from "../../../core/log/position.ts";
import type { LogReader } from "./log.ts";

/** The steps by which we look back from a partition's end: each is eight times as long as the one before. */
const firstStep = 8n;
const fetchLimitBytes = 1024 * 1024;

/**
 * The last committed record of each partition that `read` understands, as what `read` gives; undefined where there is
 * none. `read` gives undefined for a value that it does not understand: the record before is tried then.
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
 * Offsets are not dense (transaction markers, compaction) and not every record is understood: hence backwards in
 * growing steps.
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
