import { at, type Position, position } from "../../core/log/position.ts";
import type { LogReader } from "../../store/kafka/read/log.ts";
import { type Finding, ok, warning } from "./finding.ts";

/** How many offsets to read back in each partition. */
const LOOK_BACK = 10_000n;
/** How many bytes to read of all partitions together, and in one fetch. */
const MAX_BYTES = 32 * 1024 * 1024;
const FETCH_BYTES = 1024 * 1024;

interface KeyPlace {
  readonly partition: number;
  readonly offset: Position;
}

/**
 * Checks whether a key occurs in two partitions of a topic, among its newest records. Duplicates are only found within
 * a partition, so a repeat in another one is counted twice. The finding names positions, never the key, which may be
 * personal.
 */
export async function checkKeys(log: LogReader, topic: string): Promise<Finding> {
  const check = "producers.partitioner";
  const places = await splitKey(log, topic);
  if (places === null) return ok(check, `${topic}: no key was seen in two partitions`);
  const [first, second] = places.map(({ partition, offset }) => `partition ${partition} (offset ${offset})`);
  return warning(
    check,
    `${topic}: ${first} and ${second} hold one key: a record that is repeated in another partition is counted twice`,
    "Let all producers of this topic choose partitions alike: with librdkafka, set " +
      "partitioner=murmur2_random. If the topic was given more partitions, that moved keys too.",
  );
}

/** Returns two positions of one key in different partitions; null if none were found. */
async function splitKey(log: LogReader, topic: string): Promise<[KeyPlace, KeyPlace] | null> {
  const { start, stable } = await log.readableBounds(topic);
  if (stable.size < 2) return null;
  const seen = new Map<string, KeyPlace>();
  for (const [partition, end] of stable) {
    const begin = at(start, partition);
    const from = end - LOOK_BACK > begin ? position(end - LOOK_BACK) : begin;
    let leftBytes = MAX_BYTES / stable.size;
    for await (const { records } of log.read(topic, { partition, from, to: end }, { maxBytes: FETCH_BYTES })) {
      for (let index = 0; index < records.length; index++) {
        const key = records.key(index)?.toString("latin1");
        if (key === undefined) continue;
        const place = { partition, offset: records.offset(index) };
        const before = seen.get(key);
        if (before !== undefined && before.partition !== partition) return [before, place];
        seen.set(key, place);
      }
      leftBytes -= records.sizeBytes;
      if (leftBytes <= 0) break;
    }
  }
  return null;
}
