import { isTidelineError } from "../core/errors.ts";
import type { FetchWatch } from "../store/kafka/read/log.ts";
import type { Failing, FailureCounter } from "../store/redis/failure-tracker.ts";

export interface PartitionWatchDeps {
  readonly failures: FailureCounter;
  /** The name of the lane that reads the partitions. */
  readonly lane: string;
  /** Returns the generations whose answers stand still when a partition cannot be read. */
  readonly generations: () => string[];
}

/**
 * Counts the failures of partitions that cannot be read while other partitions of their lane can. The lane itself does
 * not fail then.
 */
export class PartitionWatch implements FetchWatch {
  readonly #deps: PartitionWatchDeps;
  readonly #failing = new Map<number, Failing>();

  constructor(deps: PartitionWatchDeps) {
    this.#deps = deps;
  }

  failed(_topic: string, partition: number, error: Error): void {
    const { failures, lane, generations } = this.#deps;
    const failing: Failing = { kind: "lane", name: `${lane} (partition ${partition})`, views: generations() };
    this.#failing.set(partition, failing);
    // An error with a code is final, so it is a problem at once. LOG_UNREADABLE is the exception: a leader may be
    // missing for a moment, while another one is elected.
    if (isTidelineError(error) && error.code !== "LOG_UNREADABLE") failures.stopped(failing, error);
    else failures.failed(failing, error);
  }

  answered(_topic: string, partition: number): void {
    const failing = this.#failing.get(partition);
    if (failing === undefined) return;
    this.#failing.delete(partition);
    this.#deps.failures.succeeded(failing);
  }

  /** Clears all failures: another process may read the partitions now. */
  clear(): void {
    for (const failing of this.#failing.values()) this.#deps.failures.succeeded(failing);
    this.#failing.clear();
  }
}
