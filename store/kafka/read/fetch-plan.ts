import type { BrokerAddress } from "../cluster/brokers.ts";

/**
 * Decides the order in which the partitions of a topic are asked for, and which are left out for a while. Pure: the
 * caller passes the time, of a clock that is never set (`performance.now`).
 *
 * A broker returns a batch that is larger than a partition's share only for the first partition of a request that has
 * data. So a partition that had records moves to the end, as in Kafka's Java client. In a fixed order, a large batch
 * behind a busy partition would never be read.
 */
export class FetchTurns {
  /** Partitions that had records, the least recent first. */
  readonly #served = new Set<number>();
  readonly #failures = new Map<number, { readonly count: number; readonly untilMs: number }>();

  /**
   * Returns the partitions to ask for, in order. A partition that failed is left out for a while, unless all of them
   * failed.
   */
  turn(partitions: Iterable<number>, nowMs: number): number[] {
    const wanted = new Set(partitions);
    const fresh = [...wanted].filter((partition) => !this.#served.has(partition)).sort((a, b) => a - b);
    const ordered = [...fresh, ...[...this.#served].filter((partition) => wanted.has(partition))];
    const due = ordered.filter((partition) => (this.#failures.get(partition)?.untilMs ?? 0) <= nowMs);
    return due.length > 0 ? due : ordered;
  }

  /** Notes that a partition answered. `gave`: whether it had records. */
  answered(partition: number, gave: boolean): void {
    this.#failures.delete(partition);
    if (!gave) return;
    this.#served.delete(partition);
    this.#served.add(partition);
  }

  /** Notes that a partition could not be read. It is left out for a while, longer each time. */
  failed(partition: number, nowMs: number): void {
    const count = (this.#failures.get(partition)?.count ?? 0) + 1;
    const waitMs = Math.min(BACKOFF_MS.first * 2 ** (count - 1), BACKOFF_MS.last);
    this.#failures.set(partition, { count, untilMs: nowMs + waitMs });
  }
}

const BACKOFF_MS = { first: 100, last: 10_000 };

/** The request to one broker. */
export interface LeaderShare {
  readonly leader: BrokerAddress;
  /** In the order in which the broker should look at them. */
  readonly partitions: readonly number[];
  /** The limit for all its partitions together. */
  readonly maxBytes: number;
}

export interface FetchPlan {
  readonly shares: readonly LeaderShare[];
  /** The limit of each partition. Together they may exceed `maxBytes`. */
  readonly partitionBytes: number;
  /** The limit of each partition if all had the same. */
  readonly equalBytes: number;
  /** Partitions without a leader. */
  readonly leaderless: readonly number[];
}

/**
 * The least limit of a partition, if the whole fetch may be as large: the same as in Kafka's own clients. In a topic
 * with hundreds of partitions an equal share could be less than one batch, and then a fetch would return a single
 * batch.
 */
const LEAST_SHARE_BYTES = 1024 * 1024;

/**
 * Divides a fetch of at most `maxBytes` among the leaders of the partitions in `turn`, by the number of partitions of
 * each.
 */
export function planFetch(
  turn: readonly number[],
  leaders: readonly (BrokerAddress | undefined)[],
  maxBytes: number,
): FetchPlan {
  const equalBytes = Math.floor(maxBytes / turn.length);
  const partitionBytes = Math.max(equalBytes, Math.min(maxBytes, LEAST_SHARE_BYTES));
  const byLeader = new Map<BrokerAddress, number[]>();
  const leaderless: number[] = [];
  for (const partition of turn) {
    const leader = leaders[partition];
    if (leader === undefined) leaderless.push(partition);
    else byLeader.set(leader, [...(byLeader.get(leader) ?? []), partition]);
  }
  const shares = [...byLeader].map(([leader, partitions]) => ({
    leader,
    partitions,
    maxBytes: equalBytes * partitions.length,
  }));
  return { shares, partitionBytes, equalBytes, leaderless };
}
