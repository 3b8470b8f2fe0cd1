import type { DuckDBValue } from "@duckdb/node-api";
import { TidelineError } from "../../../core/errors.ts";
import type { Work } from "../../../core/query/work.ts";
import type { Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import { namedDuckError } from "../../../store/duckdb/duck-errors.ts";
import { overloaded, tooLarge } from "../../common/refusals.ts";
import { inTurns, isSliceOver, turn } from "../../common/turns.ts";

export interface DuckQueueOptions {
  /** How many statements run at once. */
  readonly connections: number;
  /** How many statements may wait for their turn. A request beyond that is refused. */
  readonly maxWaiting: number;
  /**
   * A statement that takes longer is interrupted. The cost of a query is limited before it runs, so a timeout means
   * that the server is in trouble.
   */
  readonly timeoutMs: number;
}

/** Called with the columns of a chunk of rows: `columns[c][r]`. */
export type OnChunk = (columns: DuckDBValue[][]) => Work<void>;

/**
 * Runs the SQL of requests, a few statements at a time. The number of running statements, the queue and the time are
 * bounded.
 */
export class DuckQueue {
  readonly #free: Duck[];
  readonly #all: readonly Duck[];
  readonly #waiting: ((duck: Duck) => void)[] = [];
  readonly #options: DuckQueueOptions;

  private constructor(ducks: readonly Duck[], options: DuckQueueOptions) {
    this.#all = ducks;
    this.#free = [...ducks];
    this.#options = options;
  }

  static async open(pool: DuckPool, options: DuckQueueOptions): Promise<DuckQueue> {
    const ducks = await Promise.all(Array.from({ length: options.connections }, () => pool.connect()));
    return new DuckQueue(ducks, options);
  }

  /**
   * Runs one statement, and passes its rows to `onChunk` chunk by chunk, taking turns with other work. An error of
   * `onChunk` ends the statement, and so does `stopped`.
   */
  async read(sql: string, values: DuckDBValue[], onChunk: OnChunk, stopped: AbortSignal | null = null): Promise<void> {
    const duck = await this.#take();
    const stop = () => duck.interrupt();
    stopped?.addEventListener("abort", stop, { once: true });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      duck.interrupt();
    }, this.#options.timeoutMs);
    try {
      stopped?.throwIfAborted();
      const result = await duck.stream(sql, values);
      for (
        let chunk = await result.fetchChunk();
        chunk !== null && chunk.rowCount > 0;
        chunk = await result.fetchChunk()
      ) {
        // Chunks of several statements arrive at once, and converting the values of a chunk takes time too.
        if (isSliceOver()) await turn();
        await inTurns(onChunk(chunk.getColumns()), null);
      }
    } catch (error) {
      if (late) throw tooSlow(this.#options.timeoutMs);
      if (error instanceof Error && error.message.startsWith("Out of Memory Error")) throw this.#outOfMemory();
      throw namedDuckError(error);
    } finally {
      clearTimeout(timer);
      stopped?.removeEventListener("abort", stop);
      this.#give(duck);
    }
  }

  close(): void {
    for (const duck of this.#all) duck.closeSync();
  }

  /** All statements share the memory, so a statement needs too much by itself only if it ran alone. */
  #outOfMemory(): Error {
    return this.#all.length - this.#free.length > 1
      ? overloaded("the questions that are answered now take all memory that this server may use")
      : tooLarge("it would take more memory than this server may use");
  }

  #take(): Promise<Duck> {
    const duck = this.#free.pop();
    if (duck !== undefined) return Promise.resolve(duck);
    if (this.#waiting.length >= this.#options.maxWaiting)
      return Promise.reject(overloaded("too many questions are waiting for the batch state"));
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #give(duck: Duck): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(duck);
    else next(duck);
  }
}

/** The query itself is not too large (that is checked before), so the server or its disk is in trouble. */
function tooSlow(timeoutMs: number): TidelineError {
  const message =
    `reading the batch version took longer than ${timeoutMs / 1_000} s although the ` +
    "question is within its budget: the server is overloaded";
  return new TidelineError("TOO_SLOW", message, "ask again later", { retryAfterSeconds: 5 });
}
