import type { DuckDBValue } from "@duckdb/node-api";
import type { Duck, DuckPool } from "../store/duck.ts";
import { overloaded, tooLarge } from "./problem.ts";

export interface DuckQueueOptions {
  /** How many statements run at once. */
  readonly connections: number;
  /** How many may wait for their turn before a request is refused. */
  readonly maxWaiting: number;
  /** After this long a statement is interrupted: its answer would be too large to give. */
  readonly timeoutMs: number;
}

/** Columns of a chunk of rows: `columns[c][r]`. */
export type OnChunk = (columns: DuckDBValue[][]) => void;

/** The SQL that requests need, a few statements at a time: bounded in number, in waiting and in time. */
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

  /** Runs one statement, and hands its rows over chunk by chunk; what `onChunk` throws ends it. */
  async read(sql: string, values: DuckDBValue[], onChunk: OnChunk): Promise<void> {
    const duck = await this.#take();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      duck.interrupt();
    }, this.#options.timeoutMs);
    try {
      const result = await duck.stream(sql, values);
      for (
        let chunk = await result.fetchChunk();
        chunk !== null && chunk.rowCount > 0;
        chunk = await result.fetchChunk()
      ) {
        onChunk(chunk.getColumns());
      }
    } catch (error) {
      if (late) throw tooLarge(`it took longer than ${this.#options.timeoutMs} ms to read`);
      if (error instanceof Error && error.message.startsWith("Out of Memory Error"))
        throw tooLarge("it would take more memory than this server may use");
      throw error;
    } finally {
      clearTimeout(timer);
      this.#give(duck);
    }
  }

  close(): void {
    for (const duck of this.#all) duck.closeSync();
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
