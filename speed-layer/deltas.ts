import type { DuckDBValue } from "@duckdb/node-api";
import { type GroupValue, groupKey } from "../core/cells.ts";
import { componentsOf } from "../core/components.ts";
import type { Ledger } from "../core/ledger.ts";
import { ROWS } from "../core/measures/measure.ts";
import type { View } from "../core/view.ts";
import { type BucketDelta, cellField } from "../store/chain-state.ts";

type Building = { integers: BucketDelta["integers"][number][]; sketches: BucketDelta["sketches"][number][] };

/** What a batch adds to one partition's chain: deltas by bucket, and how many events they count. */
export interface PartitionStates {
  readonly deltas: BucketDelta[];
  counted: number;
}

/** Rows of `partialSql` (partition, bucket, dimensions, components) -> what each partition adds. */
export function statesByPartition(view: View, rows: readonly (readonly DuckDBValue[])[]): Map<number, PartitionStates> {
  const dimensions = Object.keys(view.by).length;
  const components = componentsOf(view);
  const states = new Map<number, PartitionStates>();
  const buckets = new Map<string, Building>();
  for (const row of rows) {
    const [partition, bucket] = [Number(row[0]), Number(row[1])];
    const state = states.get(partition) ?? { deltas: [], counted: 0 };
    states.set(partition, state);
    const key = `${partition}:${bucket}`;
    let delta = buckets.get(key);
    if (delta === undefined) {
      delta = { integers: [], sketches: [] };
      buckets.set(key, delta);
      state.deltas.push({ bucket, ...delta });
    }
    const group = groupKey(row.slice(2, 2 + dimensions).map(groupValue));
    for (const [index, { key: component, form, merge }] of components.entries()) {
      const value = row[2 + dimensions + index] ?? null;
      if (value === null) continue;
      const field = cellField(component, group);
      if (form === "integer") delta.integers.push({ merge, field, value: value as bigint });
      else delta.sketches.push({ field, hashes: packHashes((value as { items: readonly bigint[] }).items) });
      if (component === ROWS.name) state.counted += Number(value);
    }
  }
  return states;
}

/** A dimension's value as JSON carries it: text, a boolean, an integer (as text where a double would round it), or null. */
function groupValue(value: DuckDBValue): GroupValue {
  if (typeof value !== "bigint") return value as GroupValue;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** Eight little-endian bytes each, as PFADD gets them. */
function packHashes(hashes: readonly bigint[]): Buffer {
  const packed = Buffer.allocUnsafe(hashes.length * 8);
  hashes.forEach((hash, index) => {
    packed.writeBigUInt64LE(hash, index * 8);
  });
  return packed;
}

/** What became of a batch's records, the same for every view. */
export type BatchLedger = Pick<Ledger, "records" | "duplicates" | "rejects">;

/** Rows of `batchLedgerSql` -> by partition. */
export function batchLedgers(rows: readonly (readonly DuckDBValue[])[]): Map<number, BatchLedger> {
  return new Map(
    rows.map(([partition, records, duplicates, rejects]) => [
      Number(partition),
      { records: Number(records), duplicates: Number(duplicates), rejects: Number(rejects) },
    ]),
  );
}

/** A view's ledger: what is valid and not counted was filtered. */
export function ledgerOf(batch: BatchLedger | undefined, counted: number): Ledger {
  const { records, duplicates, rejects } = batch ?? { records: 0, duplicates: 0, rejects: 0 };
  return { records, duplicates, rejects, counted, filtered: records - duplicates - rejects - counted };
}
