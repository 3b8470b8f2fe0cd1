import type { DuckDBValue } from "@duckdb/node-api";
import { groupKey, groupValue } from "../../core/state/cells.ts";
import { below, type GroupTree } from "../../core/state/group-tree.ts";
import type { BucketDelta, GroupRow, RowColumn } from "../../store/redis/chain-state.ts";

/** What a batch adds to one bucket, while it is gathered. */
export interface Building {
  readonly values: BucketDelta["values"][number][];
  readonly rows: { readonly columns: readonly RowColumn[]; readonly rows: GroupRow[] };
  readonly sketches: BucketDelta["sketches"][number][];
}

/** What a batch adds to one partition's chain: deltas by bucket, and how many events they count. */
export interface PartitionStates {
  readonly deltas: readonly BucketDelta[];
  readonly counted: number;
}

/** Rows (partition, bucket, dimensions, state) of several statements, gathered by partition and bucket. */
export class Gathering {
  readonly partitions = new Map<number, { deltas: BucketDelta[]; counted: number }>();
  readonly #buckets = new Map<number, Map<number, Building>>();
  readonly #dimensions: number;
  readonly #columns: readonly RowColumn[];
  readonly #keys: GroupTree<string> = { next: null, held: null };

  /** `columns`: what the rows of a group have; none where it has cells alone. */
  constructor(dimensions: number, columns: readonly RowColumn[] = []) {
    this.#dimensions = dimensions;
    this.#columns = columns;
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

/** Eight little-endian bytes each, as PFADD gets them. */
export function packHashes(hashes: readonly bigint[]): Buffer {
  const packed = Buffer.allocUnsafe(hashes.length * 8);
  // A seventh of what `writeBigUInt64LE` costs, and a micro-batch may have a hash for each of its events.
  const view = new DataView(packed.buffer, packed.byteOffset);
  hashes.forEach((hash, index) => {
    view.setBigUint64(index * 8, hash, true);
  });
  return packed;
}
