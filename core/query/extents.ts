import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { bucketOf } from "../time.ts";

/** Where in event time some stored state rows lie: the buckets from `fromMs` to `lastMs`, both included. */
export interface RowExtent {
  readonly fromMs: EpochMs;
  readonly lastMs: EpochMs;
  readonly rows: number;
}

/** How many rows a read of `range` looks at. */
export function rowsRead(extents: readonly RowExtent[], range: TimeRange): number {
  return extents.reduce((sum, extent) => sum + (overlaps(extent, range) ? extent.rows : 0), 0);
}

/** About how many rows lie in `range`, as if those of an extent were spread evenly. */
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

/**
 * The first bucket that has rows at `fromMs` or later, as far as is known: none before it has any. Null when there are
 * none.
 */
export function nextWithRows(extents: readonly RowExtent[], fromMs: EpochMs): EpochMs | null {
  let next: EpochMs | null = null;
  for (const extent of extents) {
    if (extent.lastMs < fromMs) continue;
    const start = Math.max(extent.fromMs, fromMs);
    if (next === null || start < next) next = start;
  }
  return next;
}

/**
 * How far a piece of `range` from its beginning on reaches that has about `rows` rows: at least a bucket of `grainMs`,
 * at most `range`.
 */
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

/** Pieces of about `rows` rows each that have all of the rows in `range`, one after the other. */
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
