import { type Position, position } from "../core/log/position.ts";
import type { FetchedPartition } from "../store/kafka/read/log.ts";
import { Records } from "../store/kafka/read/records.ts";
import type { SchemaSource } from "../store/registry/registry-schemas.ts";

/** Of a registry that knows nothing: for records that are all JSON. */
export const NO_SCHEMAS: SchemaSource = { lookup: async () => () => null };

/**
 * Values at successive offsets, as a fetch would give them. `gaps` are offsets that hold nothing (control records,
 * compaction).
 */
export function fetchedOf(
  partition: number,
  from: bigint,
  values: readonly (Buffer | null)[],
  gaps: ReadonlySet<bigint> = new Set(),
): FetchedPartition {
  const offsets: Position[] = [];
  let next = from;
  for (const _ of values) {
    while (gaps.has(next)) next += 1n;
    offsets.push(position(next));
    next += 1n;
  }
  while (gaps.has(next)) next += 1n;
  return {
    partition,
    from: position(from),
    to: position(next),
    records: Records.of(offsets.map((offset, index) => ({ offset, key: null, value: values[index] ?? null }))),
    control: [],
    firstLeaderEpoch: 0,
    leaderEpoch: 0,
    logStart: position(0),
    stable: position(next),
    fetchedAtMs: 0,
  };
}
