/** A batch of this many records means that the log is ahead of us: nothing is gained by waiting for more. */
const FULL_BATCH_RECORDS = 5_000;
const MAX_LINGER_MS = 10;

/**
 * How long to let records gather before the next fetch. Idle or behind: not at all. In between as long as the last batch took, so that at
 * most half of the time goes into small batches, and freshness loses no more than that.
 */
export function lingerMs({ records, processingMs }: { records: number; processingMs: number }): number {
  if (records === 0 || records >= FULL_BATCH_RECORDS) return 0;
  return Math.min(MAX_LINGER_MS, processingMs);
}
