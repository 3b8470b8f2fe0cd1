import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { bucketOf } from "../time.ts";

/** The event times of some stored state rows: the buckets from `fromMs` to `lastMs`, both included. */
export interface RowExtent {
  readonly fromMs: EpochMs;
  readonly lastMs: EpochMs;
  readonly rows: number;
}

/** Returns how many rows a read of `range` has to look at. */
export function rowsRead(extents: readonly RowExtent[], range: TimeRange): number {
  return extents.reduce((sum, extent) => sum + (overlaps(extent, range) ? extent.rows : 0), 0);
}

/** Returns the approximate number of rows in `range`, as if those of an extent were spread evenly. */
function rowsWithin(extents: readonly RowExtent[], range: TimeRange): number {
  let rows = 0;
  for (const extent of extents) {
    if (!overlaps(extent, range)) continue;
    const lengthMs = extent.lastMs - extent.fromMs + 1;
    const sharedMs = Math.min(extent.lastMs + 1, range.toMs) - Math.max(extent.fromMs, range.fromMs);
    rows += (extent.rows * sharedMs) / lengthMs;
  }
  return rows;
}

function overlaps({ fromMs, lastMs }: RowExtent, range: TimeRange): boolean {
  return lastMs >= range.fromMs && fromMs < range.toMs;
}

/** Returns the first bucket at or after `fromMs` that may have rows. Null if there is none. */
export function nextWithRows(extents: readonly RowExtent[], fromMs: EpochMs): EpochMs | null {
  let next: EpochMs | null = null;
  for (const extent of extents) {
    if (extent.lastMs < fromMs) continue;
    const start = Math.max(extent.fromMs, fromMs);
    if (next === null || start < next) next = start;
  }
  return next;
}

/** Returns the first piece of `range` that has about `rows` rows. It has at least one bucket of `grainMs`. */
export function pieceOf(
  extents: readonly RowExtent[],
  range: TimeRange,
  { rows, grainMs }: { readonly rows: number; readonly grainMs: number },
): TimeRange {
  if (rowsWithin(extents, range) <= rows) return range;
  let [low, high] = [range.fromMs + grainMs, range.toMs];
  while (high - low > grainMs) {
    const middle = bucketOf((low + high) / 2, grainMs);
    if (rowsWithin(extents, { fromMs: range.fromMs, toMs: middle }) <= rows) low = Math.max(middle, low + 1);
    else high = middle;
  }
  return { fromMs: range.fromMs, toMs: Math.min(bucketOf(low, grainMs), range.toMs) };
}

/** Returns successive pieces of about `rows` rows each, which together have all rows in `range`. */
export function piecesOf(
  extents: readonly RowExtent[],
  range: TimeRange,
  size: { readonly rows: number; readonly grainMs: number },
): TimeRange[] {
  const pieces: TimeRange[] = [];
  let from = nextWithRows(extents, range.fromMs);
  while (from !== null && from < range.toMs) {
    const piece = pieceOf(extents, { fromMs: from, toMs: range.toMs }, size);
    pieces.push(piece);
    from = nextWithRows(extents, piece.toMs);
  }
  return pieces;
}
