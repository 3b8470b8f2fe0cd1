import { componentsOf } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { MERGE, type StateValue } from "../../core/measures/measure.ts";
import type { GroupKey } from "../../core/state/cells.ts";
import type { Chain } from "./chain.ts";
import {
  type BucketCells,
  type ChainState,
  type ClosedSegment,
  closedOf,
  type GroupRow,
  type RowColumn,
  splitCellField,
} from "./chain-state.ts";
import { inRows } from "./group-rows.ts";
import { type StagedBucket, unitedSketches } from "./staging.ts";

/**
 * The number of closed segments between two cuts at which they are compacted into one, and the most that are compacted
 * at once.
 */
const COMPACT_AT = 16;
const COMPACT_AT_ONCE = 64;
/**
 * The most cells that are merged at once, because the merge is made in this process's memory. Fewer segments than
 * `COMPACT_AT` are compacted too if they have this many cells.
 */
const COMPACT_CELLS = 200_000;
const COMPACT_LARGE_AT = 4;

/**
 * Returns the first run of successive closed segments to compact: at least `atLeast` of them, or as many as have
 * `COMPACT_CELLS` cells. No cut may be inside a run: a segment with a token ends at a cut, so it may only be the last
 * of a run.
 */
export function segmentsToCompact(chain: ChainState, atLeast = COMPACT_AT): ClosedSegment[] | null {
  let [run, cells]: [ClosedSegment[], number] = [[], 0];
  const begin = () => {
    [run, cells] = [[], 0];
  };
  for (const segment of closedOf(chain.segments)) {
    const more = segment.cells ?? 0;
    if (cells + more > COMPACT_CELLS) {
      if (run.length >= Math.min(atLeast, COMPACT_LARGE_AT)) return run;
      begin();
      if (more > COMPACT_CELLS / 2) continue;
    }
    run.push(segment);
    cells += more;
    if (run.length === COMPACT_AT_ONCE) return run;
    if (segment.token === null) continue;
    if (run.length >= atLeast) return run;
    begin();
  }
  return run.length >= atLeast ? run : null;
}

/**
 * Compacts closed segments of a chain into one: reads them, stages their merge, and replaces them by one script. A
 * reader has either the old ones or the new one at any time. A reader that finds the old ones deleted starts again.
 * Returns whether this call compacted them.
 */
export async function compactSegments(chain: Chain, view: View, segments: readonly ClosedSegment[]): Promise<boolean> {
  const merge = new SegmentMerge(view);
  for (const segment of segments) {
    const cells = await chain.segment(segment);
    if (cells === null) return false;
    for (const bucket of cells.buckets) merge.add(bucket);
  }
  return chain.compact(segments, merge.merged());
}

/**
 * The contents of a bucket in all segments: rows by group, cells by field, and by field the number of segments with a
 * sketch.
 */
interface MergedBucket {
  readonly rows: Map<GroupKey, (StateValue | null)[]>;
  readonly values: Map<string, StateValue>;
  readonly sketches: Map<string, number>;
}

/** The cells of several segments, merged. */
class SegmentMerge {
  readonly #columns: readonly RowColumn[];
  /** The index of each component in rows. */
  readonly #places: ReadonlyMap<string, number>;
  readonly #merges: ReadonlyMap<string, (a: StateValue, b: StateValue) => StateValue>;
  readonly #buckets = new Map<number, MergedBucket>();

  constructor(view: View) {
    const components = componentsOf(view);
    this.#columns = components.filter(inRows);
    this.#places = new Map(this.#columns.map(({ key }, index) => [key, index]));
    this.#merges = new Map(components.map(({ key, merge }) => [key, MERGE[merge]]));
  }

  add({ bucket, values, rows, sketches }: BucketCells): void {
    const held = this.#buckets.get(bucket) ?? { rows: new Map(), values: new Map(), sketches: new Map() };
    this.#buckets.set(bucket, held);
    for (const [field, value] of values) {
      const { component, group } = splitCellField(field);
      if (this.#places.has(component)) this.#addToRow(held, group, component, value);
      else held.values.set(field, this.#joined(component, held.values.get(field) ?? null, value));
    }
    for (const [group, some] of rows)
      for (const [component, value] of some) this.#addToRow(held, group, component, value);
    // Count a field once a segment: a sketch with many hashes is in several pages.
    for (const field of new Set(sketches.map(([of]) => of)))
      held.sketches.set(field, (held.sketches.get(field) ?? 0) + 1);
  }

  merged(): StagedBucket[] {
    return [...this.#buckets].map(([bucket, { rows, values, sketches }]) => ({
      bucket,
      values,
      rows: { columns: this.#columns, rows: [...rows] satisfies GroupRow[] },
      sketches: unitedSketches(sketches),
    }));
  }

  #addToRow({ rows }: MergedBucket, group: GroupKey, component: string, value: StateValue): void {
    const row = rows.get(group) ?? this.#columns.map(() => null);
    rows.set(group, row);
    const place = this.#places.get(component);
    if (place === undefined) throw new RangeError(`a row has a value of an unknown component "${component}"`);
    row[place] = this.#joined(component, row[place] ?? null, value);
  }

  #joined(component: string, before: StateValue | null, value: StateValue): StateValue {
    const join = this.#merges.get(component);
    return before === null || join === undefined ? value : join(before, value);
  }
}
