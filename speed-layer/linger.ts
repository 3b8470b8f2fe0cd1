const MAX_LINGER_MS = 10;

/** A batch, and how long it took. */
export interface BatchPace {
  readonly records: number;
  readonly processingMs: number;
}

/**
 * How long to let records gather before the next fetch. Idle or behind (the batch was full): not at all. In between as long as the last batch took,
 * so that at most half of the time goes into small batches, and freshness loses no more than that.
 */
export function lingerMs({ records, processingMs }: BatchPace, fullBatchRecords: number): number {
  return records === 0 || records >= fullBatchRecords ? 0 : Math.min(MAX_LINGER_MS, processingMs);
}
