import type { DuckDBValue } from "@duckdb/node-api";
import { componentsOf } from "../core/definition/components.ts";
import type { View } from "../core/definition/view.ts";
import type { Ledger } from "../core/log/ledger.ts";
import { ROWS, type StateValue } from "../core/measures/measure.ts";
import { groupKey, groupKeyWith, groupValue } from "../core/state/cells.ts";
import { countedSql, partialItemsSql, partialSql, wide } from "../core/state/compile.ts";
import { below, type GroupTree } from "../core/state/group-tree.ts";
import type { KeptStatements } from "../store/duckdb/kept-statements.ts";
import { type BucketDelta, cellField } from "../store/redis/chain-state.ts";

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
  const rows = view.each === null ? components.findIndex(({ key }) => key === ROWS.name) : -1;
  for (const chunk of await statements.columns(partialSql(view, events))) {
    for (const { row, partition, delta, key } of gathered.cells(chunk)) {
      for (const [index, component] of components.entries()) {
        const value = gathered.after(chunk, index, row);
        if (value === null) continue;
        const field = cellField(component.key, key);
        if (component.form === "registers")
          delta.sketches.push({ field, hashes: packHashes((value as { items: readonly bigint[] }).items) });
        else delta.values.push({ merge: component.merge, field, value: value as StateValue });
        if (index === rows) gathered.count(partition, Number(value));
      }
    }
  }
  for (const component of componentsOf(view).filter(({ form }) => form === "items")) {
    for (const chunk of await statements.columns(partialItemsSql(view, component, events))) {
      for (const { row, delta, key } of gathered.cells(chunk)) {
        const value = gathered.after(chunk, 1, row);
        if (value === null) continue;
        const field = cellField(component.key, groupKeyWith(key, groupValue(gathered.after(chunk, 0, row))));
        delta.values.push({ merge: component.merge, field, value: BigInt(value as bigint) });
      }
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
  readonly #buckets = new Map<number, Map<number, Building>>();
  readonly #dimensions: number;
  readonly #keys: GroupTree<string> = { next: null, held: null };

  constructor(dimensions: number) {
    this.#dimensions = dimensions;
  }

  /** Where each row of a chunk belongs; `key` stands for its group. */
  *cells(chunk: readonly (readonly DuckDBValue[])[]) {
    const [partitions = [], buckets = []] = chunk;
    const dimensions = chunk.slice(2, 2 + this.#dimensions);
    for (let row = 0; row < partitions.length; row++) {
      const [partition, bucket] = [Number(partitions[row]), Number(buckets[row])];
      let level = this.#keys;
      for (const values of dimensions) level = below(level, groupValue(values[row]));
      level.held ??= groupKey(dimensions.map((values) => groupValue(values[row])));
      yield { row, partition, delta: this.#delta(partition, bucket), key: level.held };
    }
  }

  /** A row's value in a column that is neither bucket nor dimension. */
  after(chunk: readonly (readonly DuckDBValue[])[], index: number, row: number): DuckDBValue {
    return chunk[2 + this.#dimensions + index]?.[row] ?? null;
  }

  count(partition: number, events: number): void {
    this.#of(partition).counted += events;
  }

  #delta(partition: number, bucket: number): Building {
    const buckets = this.#buckets.get(partition) ?? new Map<number, Building>();
    this.#buckets.set(partition, buckets);
    const held = buckets.get(bucket);
    if (held !== undefined) return held;
    const delta = { values: [], sketches: [] };
    buckets.set(bucket, delta);
    this.#of(partition).deltas.push({ bucket, ...delta });
    return delta;
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
