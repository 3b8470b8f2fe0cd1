/** A view's live cells after a batch, and how much of the log is still to be read for it. */
export interface LiveCells {
  /** In Redis now. */
  readonly cells: number;
  /** The most that the view may have. */
  readonly maxCells: number;
  /** How many the batch added. */
  readonly added: number;
  /** The number of offsets in the batch. */
  readonly taken: number;
  /** The number of offsets in the log after the batch. */
  readonly left: number;
}

/**
 * While a view catches up, the batch layer is asked only if more than this part of `maxCells` is expected at the log's
 * end.
 */
const EXPECTED_AT_MOST = 0.9;

/**
 * Returns whether the batch layer should publish the view now, to make room in Redis. With at most half of `maxCells`
 * in use, it need not. With more, a view at the log's end is published at once. A view that catches up is published
 * only if the rest of the log would not fit, assuming that it adds cells as the last batch did: a refresh takes
 * processor time from it.
 */
export function needsSettlement({ cells, maxCells, added, taken, left }: LiveCells): boolean {
  if (cells <= maxCells / 2) return false;
  return left <= 0 || cells + (Math.max(0, added) / Math.max(1, taken)) * left > maxCells * EXPECTED_AT_MOST;
}
