/** Waiting longer would be felt. */
const MAX_LINGER_MS = 40;
/**
 * A lane that gets events all the time rests this many times as long as it works: a batch costs nearly the same with
 * one event as with fifty.
 */
const REST = 3;

/** A batch, and how long it took. */
export interface BatchPace {
  readonly records: number;
  readonly processingMs: number;
}

/** How long to let records gather before the next fetch. Idle or behind (the batch was full): not at all. */
export function lingerMs({ records, processingMs }: BatchPace, fullBatchRecords: number): number {
  return records === 0 || records >= fullBatchRecords ? 0 : Math.min(MAX_LINGER_MS, REST * processingMs);
}
