import type { Cut } from "../core/log/position.ts";
import type { ScannedBatch } from "../store/decode/decoder.ts";
import type { FetchedPartition, LogSource } from "../store/kafka/read/log.ts";
import type { Clock } from "./clock.ts";

/** How long a fetch waits for the first record. */
export const IDLE_WAIT_MS = 250;

/** The sizes of a process's fetches and the distance at which lanes part. */
export interface Pacing {
  /**
   * The most bytes of a micro-batch; twice as many if its records are wide. One more batch is fetched while one is
   * worked on. Together they bound the memory of this process.
   */
  readonly batchBytes: number;
  /** A full batch with fewer records than this has wide records. */
  readonly batchRecords: number;
  /**
   * A batch with this many records means that more of the log is waiting. The next batch is fetched at once, because
   * waiting for more records gains nothing.
   */
  readonly fullBatchRecords: number;
  /** A view this many offsets behind the front reads in a lane of its own. */
  readonly farBehindOffsets: bigint;
}

export const PACING: Pacing = {
  batchBytes: 24 * 1024 * 1024,
  batchRecords: 125_000,
  fullBatchRecords: 5_000,
  farBehindOffsets: 200_000n,
};

export interface FetchesDeps {
  readonly log: Pick<LogSource, "fetch">;
  readonly topic: string;
  readonly pacing: Pacing;
  readonly clock: Clock;
  readonly scan: (batch: readonly FetchedPartition[]) => Promise<ScannedBatch>;
}

/** The result of a fetch, scanned. */
export interface Fetched {
  /** Partitions that had records. */
  readonly batch: readonly FetchedPartition[];
  readonly scanned: ScannedBatch;
  /** Partitions that had no records. */
  readonly quiet: readonly FetchedPartition[];
}

/**
 * The fetches of a lane. One fetch may be made ahead, while a full batch is worked on, but never two at once: if a
 * fetch made ahead is no longer needed, the next one waits until it has ended.
 */
export class Fetches {
  readonly #deps: FetchesDeps;
  /** The fetch that was made ahead. Its positions are null if it is no longer needed. */
  #ahead: { readonly positions: Cut | null; readonly fetched: Promise<Fetched> } | null = null;
  #last: FetchSize = { bytes: 0, records: 0 };

  constructor(deps: FetchesDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the records after these positions, from the fetch made ahead if it began there. `before` is the batch that
   * was worked on last.
   */
  async from(positions: Cut, before: BatchPace): Promise<Fetched> {
    const ahead = this.#ahead;
    if (ahead !== null && ahead.positions !== null && samePositions(ahead.positions, positions)) {
      this.#ahead = null;
      return ahead.fetched;
    }
    await this.drop();
    const { clock, pacing } = this.#deps;
    const linger = lingerMs(before, pacing.fullBatchRecords);
    if (linger > 0) await clock.wait(linger);
    return this.#fetch(positions);
  }

  /** Begins to fetch from these positions while the batch before is still worked on. */
  begin(positions: Cut): void {
    const fetched = this.#fetch(positions);
    // Avoid an unhandled rejection: the error is seen where the promise is awaited.
    fetched.catch(() => undefined);
    this.#ahead = { positions, fetched };
  }

  /** Marks the fetch made ahead as no longer needed. */
  forget(): void {
    if (this.#ahead !== null) this.#ahead = { ...this.#ahead, positions: null };
  }

  /** Waits for the fetch that was made ahead, and forgets it. */
  async drop(): Promise<void> {
    await this.#ahead?.fetched.catch(() => undefined);
    this.#ahead = null;
  }

  async #fetch(positions: Cut): Promise<Fetched> {
    const { log, topic, pacing, scan } = this.#deps;
    const bytes = fetchBytes(this.#last, pacing);
    const fetched = await log.fetch(topic, positions, { maxWaitMs: IDLE_WAIT_MS, maxBytes: bytes });
    const batch = fetched.filter(({ from, to }) => to > from);
    const quiet = fetched.filter(({ from, to }) => to === from);
    this.#last = { bytes, records: batch.reduce((sum, { records }) => sum + records.length, 0) };
    return { batch, quiet, scanned: await scan(batch) };
  }
}

/** The bytes that a fetch asked for, and the records that came. */
export interface FetchSize {
  readonly bytes: number;
  readonly records: number;
}

/**
 * Returns how many bytes to fetch next: `batchBytes`, or up to twice as many if the last fetch was full and had fewer
 * than `batchRecords` records. Each batch has a fixed cost, so a batch should have many records. Little is left of wide
 * records once their undeclared fields are skipped.
 */
export function fetchBytes(
  { bytes, records }: FetchSize,
  { batchBytes, batchRecords, fullBatchRecords }: Omit<Pacing, "farBehindOffsets">,
): number {
  if (records < fullBatchRecords) return batchBytes;
  const wanted = Math.ceil((bytes / records) * batchRecords);
  return Math.min(Math.max(wanted, batchBytes), 2 * batchBytes);
}

/** People would notice a longer wait. */
const MAX_LINGER_MS = 40;
/**
 * A lane that gets events all the time rests this many times as long as it works. A batch with one event costs nearly
 * as much as one with fifty.
 */
const REST = 3;

/** A batch, and how long it took. */
export interface BatchPace {
  readonly records: number;
  readonly processingMs: number;
}

/**
 * Returns how long to let records gather before the next fetch. It is 0 for a lane that is idle or that is behind (its
 * last batch was full).
 */
function lingerMs({ records, processingMs }: BatchPace, fullBatchRecords: number): number {
  return records === 0 || records >= fullBatchRecords ? 0 : Math.min(MAX_LINGER_MS, REST * processingMs);
}

function samePositions(a: Cut, b: Cut): boolean {
  return a.size === b.size && [...a].every(([partition, held]) => b.get(partition) === held);
}
