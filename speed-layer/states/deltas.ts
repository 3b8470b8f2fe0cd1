import type { DuckDBValue } from "@duckdb/node-api";
import { componentsOf, type NamedComponent } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import { MERGE, ROWS, type StateValue } from "../../core/measures/measure.ts";
import { type GroupKey, groupKey, groupKeyWith, groupValue } from "../../core/state/cells.ts";
import {
  countedSql,
  partialItemsSql,
  partialSql,
  singleCountedSql,
  singlesSql,
  wide,
} from "../../core/state/compile.ts";
import { below, type GroupTree } from "../../core/state/group-tree.ts";
import type { BatchLedger, BatchSize } from "../../store/decode/decoded-batch.ts";
import type { KeptStatements } from "../../store/duckdb/kept-statements.ts";
import { type BucketDelta, cellField, type GroupRow, type RowColumn } from "../../store/redis/chain-state.ts";

/**
 * Returns the states that a view makes of a relation of decoded events, by partition. DuckDB groups the events of a
 * large batch. The events of a small one are merged in this file, which costs less. The states are the same.
 */
export function statesByPartition(
  statements: KeptStatements,
  view: View,
  events: string,
  size: BatchSize,
): Promise<Map<number, PartitionStates>> {
  return size === "small" ? statesOfSingles(statements, view, events) : statesOfCells(statements, view, events);
}

async function statesOfCells(
  statements: KeptStatements,
  view: View,
  events: string,
): Promise<Map<number, PartitionStates>> {
  const all = [...wide(view).entries()];
  const columns = all.filter(([, { form }]) => form !== "registers");
  const registers = all.filter(([, { form }]) => form === "registers");
  const gathered = new Gathering(
    Object.keys(view.by).length,
    columns.map(([, component]) => component),
  );
  const rows = view.each === null ? columns.findIndex(([, { key }]) => key === ROWS.name) : -1;
  for (const chunk of await statements.columns(partialSql(view, events))) {
    for (const { row, partition, delta, key } of gathered.cells(chunk)) {
      const values = columns.map(([index]) => gathered.after(chunk, index, row) as StateValue | null);
      delta.rows.rows.push([key, values]);
      if (rows >= 0) gathered.count(partition, Number(values[rows]));
      for (const [index, component] of registers) {
        const value = gathered.after(chunk, index, row);
        if (value === null) continue;
        const hashes = packHashes((value as { items: readonly bigint[] }).items);
        delta.sketches.push({ field: cellField(component.key, key), hashes });
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

/** Returns a view's ledger. A valid record that is not counted was filtered. */
export function ledgerOf(batch: BatchLedger | undefined, counted: number): Ledger {
  const { records, duplicates, rejects } = batch ?? { records: 0, duplicates: 0, rejects: 0 };
  return { records, duplicates, rejects, counted, filtered: records - duplicates - rejects - counted };
}

/** The rows of a statement, in chunks of columns. */
export type Chunks = Iterable<readonly (readonly DuckDBValue[])[]>;

/** Returns the same as `statesByPartition`. Reads a row for each event and merges the rows here. For small batches. */
async function statesOfSingles(
  statements: KeptStatements,
  view: View,
  events: string,
): Promise<Map<number, PartitionStates>> {
  const gathered = mergedSingles(view, await statements.columns(singlesSql(view, events)));
  if (view.each !== null) {
    for (const [partition, counted] of await statements.rows(singleCountedSql(view, events)))
      gathered.count(Number(partition), Number(counted));
  }
  return gathered.partitions;
}

/**
 * Returns the merged states of the rows of a view's `singlesSql`. With `each`, the caller still has to count the
 * events.
 */
export function mergedSingles(view: View, chunks: Chunks): Gathering {
  const gathered = new Gathering(Object.keys(view.by).length);
  const merging = new Merging();
  const components = placed(view);
  for (const chunk of chunks) {
    for (const { row, partition, delta, key } of gathered.cells(chunk)) {
      for (const { component, column } of components) {
        const value = gathered.after(chunk, column, row);
        if (value === null) continue;
        if (component.form === "registers") merging.addHash(delta, cellField(component.key, key), value as bigint);
        else if (component.form !== "items")
          merging.add(delta, component, cellField(component.key, key), value as StateValue | number);
        else {
          const item = groupValue(gathered.after(chunk, column - 1, row));
          const field = cellField(component.key, groupKeyWith(key, item));
          merging.add(delta, component, field, value as bigint | number);
        }
        if (component.key === ROWS.name && view.each === null) gathered.count(partition, 1);
      }
    }
  }
  merging.finish();
  return gathered;
}

interface Placed {
  readonly component: NamedComponent;
  readonly column: number;
}

/** The columns of each view that was read: for a small batch, computing them again would cost too much. */
const placedOf = new WeakMap<View, readonly Placed[]>();

/**
 * Returns each component with the index of its value among the columns after the dimensions. An item is one column
 * before its value.
 */
function placed(view: View): readonly Placed[] {
  const known = placedOf.get(view);
  if (known !== undefined) return known;
  let next = 0;
  const made = componentsOf(view).map((component) => {
    next += component.form === "items" ? 2 : 1;
    return { component, column: next - 1 };
  });
  placedOf.set(view, made);
  return made;
}

/** Merges the cells of deltas, by field, so that each cell is written once. */
class Merging {
  readonly #values = new Map<Building, Map<string, { merge: NamedComponent["merge"]; value: StateValue }>>();
  readonly #hashes = new Map<Building, Map<string, Set<bigint>>>();

  add(delta: Building, { merge }: NamedComponent, field: string, one: StateValue | number): void {
    const value = typeof one === "number" ? BigInt(one) : one;
    const cells = this.#values.get(delta) ?? new Map();
    this.#values.set(delta, cells);
    const held = cells.get(field);
    cells.set(field, { merge, value: held === undefined ? value : MERGE[merge](held.value, value) });
  }

  addHash(delta: Building, field: string, hash: bigint): void {
    const sketches = this.#hashes.get(delta) ?? new Map<string, Set<bigint>>();
    this.#hashes.set(delta, sketches);
    const held = sketches.get(field) ?? new Set();
    sketches.set(field, held.add(hash));
  }

  finish(): void {
    for (const [{ values }, cells] of this.#values)
      for (const [field, { merge, value }] of cells) values.push({ merge, field, value: stored(value) });
    for (const [{ sketches }, held] of this.#hashes)
      for (const [field, hashes] of held) sketches.push({ field, hashes: packHashes([...hashes]) });
  }
}

/** Returns the value. Throws if DuckDB's cast to BIGINT would. */
function stored(value: StateValue): StateValue {
  if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value)
    throw new RangeError(`a sum of ${value} is out of the range of 64 bits`);
  return value;
}

/** The states of one bucket, while they are gathered. */
interface Building {
  readonly values: BucketDelta["values"][number][];
  readonly rows: { readonly columns: readonly RowColumn[]; readonly rows: GroupRow[] };
  readonly sketches: BucketDelta["sketches"][number][];
}

/** The states that a batch adds in one partition: deltas by bucket, and the number of events that they count. */
export interface PartitionStates {
  readonly deltas: readonly BucketDelta[];
  readonly counted: number;
}

/** Gathers rows (partition, bucket, dimensions, state) of several statements by partition and bucket. */
class Gathering {
  readonly partitions = new Map<number, { deltas: BucketDelta[]; counted: number }>();
  readonly #buckets = new Map<number, Map<number, Building>>();
  readonly #dimensions: number;
  readonly #columns: readonly RowColumn[];
  readonly #keys: GroupTree<GroupKey> = { next: null, held: null };

  /** `columns`: the columns of a group's row. Empty if the groups have cells and no rows. */
  constructor(dimensions: number, columns: readonly RowColumn[] = []) {
    this.#dimensions = dimensions;
    this.#columns = columns;
  }

  /** Yields the partition, delta and group key that each row of a chunk belongs to. */
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

  /** Returns a row's value in the column with this index after the dimensions. */
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
    const delta: Building = { values: [], rows: { columns: this.#columns, rows: [] }, sketches: [] };
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

/** Packs each hash as eight little-endian bytes, as PFADD gets them. */
function packHashes(hashes: readonly bigint[]): Buffer {
  const packed = Buffer.allocUnsafe(hashes.length * 8);
  // DataView takes a seventh of the time of `writeBigUInt64LE`, and a micro-batch may have a hash for each event.
  const view = new DataView(packed.buffer, packed.byteOffset);
  hashes.forEach((hash, index) => {
    view.setBigUint64(index * 8, hash, true);
  });
  return packed;
}
