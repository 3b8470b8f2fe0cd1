import type { Cut } from "../core/log/position.ts";
import type { ScannedBatch } from "../store/decode/decoder.ts";
import type { FetchedPartition, LogSource } from "../store/kafka/read/log.ts";
import type { Clock } from "./clock.ts";

/** How long a fetch waits for the first record. */
export const IDLE_WAIT_MS = 250;

/** How a process paces itself. */
export interface Pacing {
  /**
   * A micro-batch is at most this many bytes, or twice as many if its records are wide, and one more is fetched while
   * it is worked on: the bound of this process's memory.
   */
  readonly batchBytes: number;
  /** With fewer records than this in a full batch they are wide. */
  readonly batchRecords: number;
  /**
   * A batch of this many records means that the log is ahead of us: nothing is gained by waiting for more, and the next
   * one is fetched at once.
   */
  readonly fullBatchRecords: number;
  /** A view this many offsets behind the front gets a lane of its own. */
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

/** What a fetch gave, scanned. */
export interface Fetched {
  /** Partitions that had something. */
  readonly batch: readonly FetchedPartition[];
  readonly scanned: ScannedBatch;
  /** Partitions that had nothing. */
  readonly quiet: readonly FetchedPartition[];
}

/**
 * The fetches of a lane. One may be made ahead, while a full batch is worked on, and never a second one beside it: what
 * is of no use any more is waited for before the next fetch begins.
 */
export class Fetches {
  readonly #deps: FetchesDeps;
  /** The fetch that was made ahead; without positions it is of no use any more. */
  #ahead: { readonly positions: Cut | null; readonly fetched: Promise<Fetched> } | null = null;
  #last: FetchSize = { bytes: 0, records: 0 };

  constructor(deps: FetchesDeps) {
    this.#deps = deps;
  }

  /** Fetches from these positions, unless that was done ahead. `before` is the batch that was worked on last. */
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

  /** Begins to fetch from these positions: the batch before is still worked on. */
  begin(positions: Cut): void {
    const fetched = this.#fetch(positions);
    // Avoid an unhandled rejection: the error is seen where the promise is awaited.
    fetched.catch(() => undefined);
    this.#ahead = { positions, fetched };
  }

  /** What was fetched ahead is of no use any more. */
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

/** A fetch: how many bytes were asked for, and how many records came. */
export interface FetchSize {
  readonly bytes: number;
  readonly records: number;
}

/**
 * How many bytes to fetch next: `batchBytes`, or up to twice as many if the last fetch was full and had fewer than
 * `batchRecords` records. A batch costs something beside its records, whatever their size, and undeclared fields leave
 * little of them.
 */
export function fetchBytes(
  { bytes, records }: FetchSize,
  { batchBytes, batchRecords, fullBatchRecords }: Omit<Pacing, "farBehindOffsets">,
): number {
  if (records < fullBatchRecords) return batchBytes;
  const wanted = Math.ceil((bytes / records) * batchRecords);
  return Math.min(Math.max(wanted, batchBytes), 2 * batchBytes);
}

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
function lingerMs({ records, processingMs }: BatchPace, fullBatchRecords: number): number {
  return records === 0 || records >= fullBatchRecords ? 0 : Math.min(MAX_LINGER_MS, REST * processingMs);
}

function samePositions(a: Cut, b: Cut): boolean {
  return a.size === b.size && [...a].every(([partition, held]) => b.get(partition) === held);
}
