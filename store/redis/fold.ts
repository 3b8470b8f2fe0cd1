import { componentsOf } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { MERGE, type StateValue } from "../../core/measures/measure.ts";
import type { Chain } from "./chain.ts";
import { type BucketCells, type ChainState, type ClosedSegment, closedOf, splitCellField } from "./chain-state.ts";
import { unitedSketches } from "./staging.ts";

/**
 * How many closed segments may stand between two cuts before they are folded into one, and how many are folded at once.
 */
const FOLD_AT = 16;
const FOLD_AT_ONCE = 64;
/**
 * The most cells that are folded at once: the merge is made in this process's memory. Fewer segments than `FOLD_AT`
 * that have more are folded, too.
 */
const FOLD_CELLS = 200_000;
const FOLD_LARGE_AT = 4;

/**
 * The first run of successive closed segments that may be folded: at least `atLeast` of them, or as many as have
 * `FOLD_CELLS` cells. No cut separates them: a segment with a token ends at a cut, so a run may end with one but not go
 * on behind it.
 */
export function foldable(chain: ChainState, atLeast = FOLD_AT): ClosedSegment[] | null {
  let [run, cells]: [ClosedSegment[], number] = [[], 0];
  const begin = () => {
    [run, cells] = [[], 0];
  };
  for (const segment of closedOf(chain.segments)) {
    const more = segment.cells ?? 0;
    if (cells + more > FOLD_CELLS) {
      if (run.length >= Math.min(atLeast, FOLD_LARGE_AT)) return run;
      begin();
      if (more > FOLD_CELLS / 2) continue;
    }
    run.push(segment);
    cells += more;
    if (run.length === FOLD_AT_ONCE) return run;
    if (segment.token === null) continue;
    if (run.length >= atLeast) return run;
    begin();
  }
  return run.length >= atLeast ? run : null;
}

/**
 * Folds closed segments of a chain into one: reads them, writes their merge beside them, and swaps it in by one script.
 * Whoever reads meanwhile has either the old ones or the new one; whoever finds them gone starts over. True: this call
 * folded them.
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
