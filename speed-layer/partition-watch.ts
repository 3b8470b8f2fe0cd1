import { isTidelineError } from "../core/errors.ts";
import type { FetchWatch } from "../store/kafka/read/log.ts";
import type { Failing, FailureCounter } from "../store/redis/failure-tracker.ts";

export interface PartitionWatchDeps {
  readonly failures: FailureCounter;
  /** How the lane is called that reads the partitions. */
  readonly lane: string;
  /** Generations whose answers stand still when a partition cannot be read. */
  readonly generations: () => string[];
}

/**
 * Counts the failures of partitions that cannot be read while the others of their lane can: their lane does not fail.
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
    // An error with a code was looked into already: it is a problem at once. Only a leader may be missing for a moment,
    // while another one is elected.
    if (isTidelineError(error) && error.code !== "LOG_UNREADABLE") failures.stopped(failing, error);
    else failures.failed(failing, error);
  }

  answered(_topic: string, partition: number): void {
    const failing = this.#failing.get(partition);
    if (failing === undefined) return;
    this.#failing.delete(partition);
    this.#deps.failures.succeeded(failing);
  }

  /** Forgets all of them: the partitions may be read by another process now. */
  clear(): void {
    for (const failing of this.#failing.values()) this.#deps.failures.succeeded(failing);
    this.#failing.clear();
  }
}
