import type { DuckDBValue } from "@duckdb/node-api";
import { type GroupValue, groupKey } from "../core/cells.ts";
import { componentsOf } from "../core/components.ts";
import { EMPTY_LEDGER, type Ledger } from "../core/ledger.ts";
import type { View } from "../core/view.ts";
import { type BucketDelta, cellField } from "../store/chain.ts";

type Building = { integers: BucketDelta["integers"][number][]; sketches: BucketDelta["sketches"][number][] };

/** Rows of `partialSql` (partition, bucket, dimensions, components) -> what each partition adds to each bucket. */
export function deltasByPartition(view: View, rows: readonly (readonly DuckDBValue[])[]): Map<number, BucketDelta[]> {
  const dimensions = Object.keys(view.by).length;
  const components = componentsOf(view);
  const partitions = new Map<number, Map<number, Building>>();
  for (const row of rows) {
    const buckets = partitions.get(Number(row[0])) ?? new Map<number, Building>();
    partitions.set(Number(row[0]), buckets);
    const bucket = Number(row[1]);
    const delta = buckets.get(bucket) ?? { integers: [], sketches: [] };
    buckets.set(bucket, delta);
    const group = groupKey(row.slice(2, 2 + dimensions).map(groupValue));
    components.forEach(({ key, form, merge }, index) => {
      const value = row[2 + dimensions + index] ?? null;
      if (value === null) return;
      const field = cellField(key, group);
      if (form === "integer") delta.integers.push({ merge, field, value: value as bigint });
      else delta.sketches.push({ field, hashes: packHashes((value as { items: readonly bigint[] }).items) });
    });
  }
  return new Map(
    [...partitions].map(([partition, buckets]) => [
      partition,
      [...buckets].map(([bucket, delta]) => ({ bucket, ...delta })),
    ]),
  );
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

/** Rows of `ledgerSql` -> the ledger of each partition. */
export function ledgersByPartition(rows: readonly (readonly DuckDBValue[])[]): Map<number, Ledger> {
  return new Map(
    rows.map(([partition, records, duplicates, rejects, counted, filtered]) => [
      Number(partition),
      {
        ...EMPTY_LEDGER,
        records: Number(records),
        duplicates: Number(duplicates),
        rejects: Number(rejects),
        counted: Number(counted),
        filtered: Number(filtered),
      },
    ]),
  );
}
