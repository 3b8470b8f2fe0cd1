/** A view's live cells after a batch, and what the log still holds for it. */
export interface LiveCells {
  /** In Redis now. */
  readonly cells: number;
  /** The most that the view may have. */
  readonly maxCells: number;
  /** How many the batch added. */
  readonly added: number;
  /** How many offsets the batch has. */
  readonly taken: number;
  /** How many offsets of the log lie behind the batch. */
  readonly left: number;
}

/**
 * While a view catches up, this much of `maxCells` may be expected at the log's end before the batch layer is asked.
 */
const EXPECTED_AT_MOST = 0.9;

/**
 * Whether the batch layer should publish the view now, to make room in Redis. Below half of `maxCells` it need not.
 * Above, a view that is at the log's end is published at once. A view that catches up is published when the rest of the
 * log would not fit, if it adds cells as the last batch did: a refresh beside it takes time from it.
 */
export function needsSettlement({ cells, maxCells, added, taken, left }: LiveCells): boolean {
  if (cells <= maxCells / 2) return false;
  return left <= 0 || cells + (Math.max(0, added) / Math.max(1, taken)) * left > maxCells * EXPECTED_AT_MOST;
}
