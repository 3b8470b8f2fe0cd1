import { componentsOf } from "../core/components.ts";
import { MERGE, type StateValue } from "../core/measures/measure.ts";
import type { View } from "../core/view.ts";
import type { Chain } from "./chain.ts";
import { type BucketCells, type ChainState, type ClosedSegment, closedOf, splitCellField } from "./chain-state.ts";
import { unitedSketches } from "./staging.ts";

/** How many closed segments may stand between two cuts before they are folded into one. */
const FOLD_AT = 16;
/** Segments with more cells together than this are not folded: their merge is made in this process's memory. */
const FOLD_CELLS = 200_000;

/**
 * The first run of at least `atLeast` successive closed segments that no cut separates: what may be folded. A segment with a token ends at a
 * cut, so a run may end with one but not go on behind it. A run has at most `FOLD_CELLS` cells.
 */
export function foldable(chain: ChainState, atLeast = FOLD_AT): ClosedSegment[] | null {
  let run: ClosedSegment[] = [];
  let cells = 0;
  for (const segment of closedOf(chain.segments)) {
    const grown = cells + (segment.cells ?? 0);
    if (grown > FOLD_CELLS) {
      if (run.length >= atLeast) return run;
      run = [];
      cells = 0;
      if ((segment.cells ?? 0) > FOLD_CELLS) continue;
    }
    run.push(segment);
    cells += segment.cells ?? 0;
    if (segment.token === null) continue;
    if (run.length >= atLeast) return run;
    run = [];
    cells = 0;
  }
  return run.length >= atLeast ? run : null;
}

/**
 * Folds closed segments of a chain into one: reads them, writes their merge beside them, and swaps it in by one script. Whoever reads meanwhile
 * has either the old ones or the new one; whoever finds them gone starts over. True: this call folded them.
 */
export async function fold(chain: Chain, view: View, segments: readonly ClosedSegment[]): Promise<boolean> {
  const merges = new Map(componentsOf(view).map(({ key, merge }) => [key, MERGE[merge]]));
  const buckets = new Map<number, Map<string, StateValue>>();
  const sketches = new Map<number, Set<string>>();
  for (const segment of segments) {
    const cells = await chain.segment(segment);
    if (cells === null) return false;
    for (const bucket of cells.buckets) merge(buckets, sketches, merges, bucket);
  }
  const merged = [...buckets].map(([bucket, values]) => ({
    bucket,
    values,
    sketches: unitedSketches(sketches.get(bucket) ?? []),
  }));
  return chain.fold(segments, merged);
}

function merge(
  buckets: Map<number, Map<string, StateValue>>,
  sketches: Map<number, Set<string>>,
  merges: ReadonlyMap<string, (a: StateValue, b: StateValue) => StateValue>,
  { bucket, values, sketches: found }: BucketCells,
): void {
  const held = buckets.get(bucket) ?? new Map<string, StateValue>();
  buckets.set(bucket, held);
  for (const [field, value] of values) {
    const before = held.get(field);
    const join = merges.get(splitCellField(field).component);
    held.set(field, before === undefined || join === undefined ? value : join(before, value));
  }
  const names = sketches.get(bucket) ?? new Set<string>();
  sketches.set(bucket, names);
  for (const [field] of found) names.add(field);
}
