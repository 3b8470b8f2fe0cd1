import type { PartitionStates } from "../speed-layer/states/deltas.ts";
import { cellsOfDelta } from "../store/redis/group-rows.ts";

/** States of a batch in an order of their own, with sketches as the hashes they hold, to compare two of them. */
export function comparable(states: ReadonlyMap<number, PartitionStates>) {
  const partitions = [...states].map(([partition, { deltas, counted }]) => ({
    partition,
    counted,
    deltas: deltas
      .map((delta) => ({
        bucket: delta.bucket,
        values: [...cellsOfDelta(delta)].sort(byField),
        sketches: delta.sketches.map(({ field, hashes }) => ({ field, hashes: hashesIn(hashes) })).sort(byField),
      }))
      .sort((a, b) => a.bucket - b.bucket),
  }));
  return partitions.sort((a, b) => a.partition - b.partition);
}

function byField(a: { readonly field: string }, b: { readonly field: string }): number {
  return a.field < b.field ? -1 : 1;
}

function hashesIn(packed: Buffer): bigint[] {
  const hashes = Array.from({ length: packed.length / 8 }, (_, index) => packed.readBigUInt64LE(index * 8));
  return hashes.sort((a, b) => (a < b ? -1 : 1));
}
