import { TidelineError } from "../../core/errors.ts";
import type { DedupSources } from "../../store/decode/warm-dedup.ts";
import { type Duck, DuckPool } from "../../store/duckdb/duck.ts";
import { OneByOne } from "../common/one-by-one.ts";
import { serverClosing } from "../common/refusals.ts";
import { recomputingRefused } from "../read/recomputations.ts";

export interface LogWorkOptions {
  readonly sources: DedupSources;
  readonly brokers: string;
  readonly threads: number;
  readonly memoryLimitMb: number;
  /** Work that takes longer is given up. */
  readonly timeoutMs: number;
  /** The name of the work in a refusal, such as "proof". */
  readonly called: string;
}

const MAX_WAITING = 8;

/**
 * Runs work that reads the raw log up to some position, one piece at a time. Each piece has a database of its own, so
 * that it takes no memory from answers.
 */
export class LogWork {
  readonly #options: LogWorkOptions;
  readonly #stopped = new AbortController();
  readonly #queue: OneByOne;

  constructor(options: LogWorkOptions) {
    this.#options = options;
    this.#queue = new OneByOne(MAX_WAITING, `too many ${options.called}s are waiting`);
  }

  /**
   * Throws TOO_SLOW, POSITION_GONE (a record is neither in the archive nor in the log any more), TOO_LARGE and, when
   * too many wait, TOO_MANY_REQUESTS.
   */
  run<T>(asked: AbortSignal, work: (duck: Duck, signal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#queue.run(() => this.#run(asked, work));
  }

  /** Ends the running work. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#queue.drain();
  }

  async #run<T>(asked: AbortSignal, work: (duck: Duck, signal: AbortSignal) => Promise<T>): Promise<T> {
    const { sources, threads, memoryLimitMb, timeoutMs, brokers, called } = this.#options;
    const late = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([late, this.#stopped.signal, asked]);
    if (this.#stopped.signal.aborted) throw serverClosing();
    signal.throwIfAborted();
    const pool = await DuckPool.open({ threads, memoryLimitMb, directories: [sources.data.root] });
    const duck = await pool.connect();
    const interrupt = () => duck.interrupt();
    signal.addEventListener("abort", interrupt, { once: true });
    try {
      // The signal may have been aborted while the database was opened.
      signal.throwIfAborted();
      return await work(duck, signal);
    } catch (error) {
      if (this.#stopped.signal.aborted) throw serverClosing();
      if (late.aborted) throw tooSlow(called, timeoutMs);
      signal.throwIfAborted();
      throw recomputingRefused(error, brokers);
    } finally {
      signal.removeEventListener("abort", interrupt);
      duck.closeSync();
      pool.close();
    }
  }
}

function tooSlow(called: string, timeoutMs: number): TidelineError {
  return new TidelineError("TOO_SLOW", `the ${called} took longer than ${timeoutMs / 1_000} s; ask for less`, "");
}
