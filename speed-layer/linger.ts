/** What is sent together comes within so many milliseconds; to wait longer would be felt, and spare little. */
const MAX_LINGER_MS = 3;

/** A batch, and how long it took. */
export interface BatchPace {
  readonly records: number;
  readonly processingMs: number;
}

/** How long to let records gather before the next fetch. Idle or behind (the batch was full): not at all. */
export function lingerMs({ records, processingMs }: BatchPace, fullBatchRecords: number): number {
  return records === 0 || records >= fullBatchRecords ? 0 : Math.min(MAX_LINGER_MS, processingMs);
}
