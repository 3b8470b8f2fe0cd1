import type { DuckDBValue } from "@duckdb/node-api";
import { groupKey, groupValue } from "../core/cells.ts";
import { countedSql, partialItemsSql, partialSql, wide } from "../core/compile.ts";
import { componentsOf } from "../core/components.ts";
import type { Ledger } from "../core/ledger.ts";
import { ROWS, type StateValue } from "../core/measures/measure.ts";
import type { View } from "../core/view.ts";
import { type BucketDelta, cellField } from "../store/chain-state.ts";
import type { KeptStatements } from "../store/kept-statements.ts";

type Building = { values: BucketDelta["values"][number][]; sketches: BucketDelta["sketches"][number][] };

/** What a batch adds to one partition's chain: deltas by bucket, and how many events they count. */
export interface PartitionStates {
  readonly deltas: readonly BucketDelta[];
  readonly counted: number;
}

/** The states that a view makes of a relation of decoded events, by partition. */
export async function statesByPartition(
  statements: KeptStatements,
  view: View,
  events: string,
): Promise<Map<number, PartitionStates>> {
  const gathered = new Gathering(Object.keys(view.by).length);
  const components = wide(view);
  for (const row of await statements.rows(partialSql(view, events))) {
    const cell = gathered.cell(row);
    for (const [index, { key, form, merge }] of components.entries()) {
      const value = row[cell.next + index] ?? null;
      if (value === null) continue;
      const field = cellField(key, groupKey(cell.group));
      if (form === "registers")
        cell.delta.sketches.push({ field, hashes: packHashes((value as { items: readonly bigint[] }).items) });
      else cell.delta.values.push({ merge, field, value: value as StateValue });
      if (key === ROWS.name && view.each === null) gathered.count(cell.partition, Number(value));
    }
  }
  for (const component of componentsOf(view).filter(({ form }) => form === "items")) {
    for (const row of await statements.rows(partialItemsSql(view, component, events))) {
      const cell = gathered.cell(row);
      const value = row[cell.next + 1] ?? null;
      if (value === null) continue;
      const field = cellField(component.key, groupKey([...cell.group, groupValue(row[cell.next] ?? null)]));
      cell.delta.values.push({ merge: component.merge, field, value: BigInt(value as bigint) });
    }
  }
  if (view.each !== null) {
    for (const [partition, counted] of await statements.rows(countedSql(view, events)))
      gathered.count(Number(partition), Number(counted));
  }
  return gathered.partitions;
}

/** Rows (partition, bucket, dimensions, state) of several statements, gathered by partition and bucket. */
class Gathering {
  readonly partitions = new Map<number, { deltas: BucketDelta[]; counted: number }>();
  readonly #buckets = new Map<string, Building>();
  readonly #dimensions: number;

  constructor(dimensions: number) {
    this.#dimensions = dimensions;
  }

  /** Where a row belongs; `next` is the index of the first column that is neither bucket nor dimension. */
  cell(row: readonly DuckDBValue[]) {
    const [partition, bucket] = [Number(row[0]), Number(row[1])];
    const key = `${partition}:${bucket}`;
    let delta = this.#buckets.get(key);
    if (delta === undefined) {
      delta = { values: [], sketches: [] };
      this.#buckets.set(key, delta);
      this.#of(partition).deltas.push({ bucket, ...delta });
    }
    const next = 2 + this.#dimensions;
    return { partition, delta, next, group: row.slice(2, next).map(groupValue) };
  }

  count(partition: number, events: number): void {
    this.#of(partition).counted += events;
  }

  #of(partition: number) {
    const held = this.partitions.get(partition) ?? { deltas: [], counted: 0 };
    this.partitions.set(partition, held);
    return held;
  }
}

/** Eight little-endian bytes each, as PFADD gets them. */
function packHashes(hashes: readonly bigint[]): Buffer {
  const packed = Buffer.allocUnsafe(hashes.length * 8);
  // A seventh of what `writeBigUInt64LE` costs, and a micro-batch may have a hash for each of its events.
  const view = new DataView(packed.buffer, packed.byteOffset);
  hashes.forEach((hash, index) => {
    view.setBigUint64(index * 8, hash, true);
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
