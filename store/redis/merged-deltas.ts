import type { EpochMs } from "../../core/log/position.ts";
import { MERGE, type Merge, type StateValue } from "../../core/measures/measure.ts";
import type { GroupKey } from "../../core/state/cells.ts";
import type { BucketDelta, GroupRows } from "./chain-state.ts";
import type { StagedBucket } from "./staging.ts";

/**
 * The most bytes of a sketch's hashes in one page. More go to Redis in several pages: adding to a sketch twice is the
 * same as once.
 */
const CHUNK_BYTES = 8 * 4_000;

/** Merges the deltas of several partitions of a batch. */
export function mergedDeltas(deltas: Iterable<BucketDelta>): StagedBucket[] {
  const buckets = new Map<EpochMs, BucketDelta[]>();
  for (const delta of deltas) {
    const held = buckets.get(delta.bucket);
    if (held === undefined) buckets.set(delta.bucket, [delta]);
    else held.push(delta);
  }
  return [...buckets].map(([bucket, held]) => ({
    bucket,
    values: mergedValues(held),
    ...mergedRows(held),
    sketches: mergedSketches(held),
  }));
}

function mergedRows(deltas: readonly BucketDelta[]): Pick<StagedBucket, "rows"> {
  const given = deltas.flatMap(({ rows }) => (rows === undefined || rows.rows.length === 0 ? [] : [rows]));
  const [first] = given;
  if (first === undefined) return {};
  return { rows: given.length === 1 ? first : { columns: first.columns, rows: [...joinedRows(given)] } };
}

/** Merges rows of the same columns by group. */
function joinedRows(given: readonly GroupRows[]): Map<GroupKey, readonly (StateValue | null)[]> {
  const merged = new Map<GroupKey, readonly (StateValue | null)[]>();
  for (const { columns, rows } of given) {
    for (const [group, values] of rows) {
      const before = merged.get(group);
      merged.set(
        group,
        before === undefined
          ? values
          : columns.map(({ merge }, index) => joinedOrNull(merge, before[index] ?? null, values[index] ?? null)),
      );
    }
  }
  return merged;
}

function joinedOrNull(merge: Merge, before: StateValue | null, value: StateValue | null): StateValue | null {
  return value === null ? before : joined(merge, before ?? undefined, value);
}

function mergedValues(deltas: readonly BucketDelta[]): Map<string, StateValue> {
  const merged = new Map<string, StateValue>();
  for (const { values } of deltas)
    for (const { merge, field, value } of values) merged.set(field, joined(merge, merged.get(field), value));
  return merged;
}

function mergedSketches(deltas: readonly BucketDelta[]): (readonly [field: string, hashes: Buffer])[] {
  const merged = new Map<string, Buffer[]>();
  for (const { sketches } of deltas) {
    for (const { field, hashes } of sketches) {
      const before = merged.get(field);
      if (before === undefined) merged.set(field, [hashes]);
      else before.push(hashes);
    }
  }
  return [...merged].flatMap(([field, hashes]) => chunks(Buffer.concat(hashes)).map((one) => [field, one] as const));
}

function chunks(hashes: Buffer): Buffer[] {
  const count = Math.ceil(hashes.length / CHUNK_BYTES);
  return Array.from({ length: count }, (_, index) => hashes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES));
}

function joined(merge: Merge, before: StateValue | undefined, value: StateValue): StateValue {
  return before === undefined ? value : MERGE[merge](before, value);
}
