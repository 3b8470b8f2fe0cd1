import type { BrokerAddress } from "../cluster/brokers.ts";

/**
 * In which order the partitions of a topic are asked for, and which are left out for a while. Pure: the caller gives
 * the time, of a clock that is never set (`performance.now`).
 *
 * A broker gives a batch that is larger than a partition's share only to the first partition of a request that has
 * data. So a partition that gave something moves to the end, as in Kafka's Java client; in a fixed order a large batch
 * behind a busy partition would never be read.
 */
export class FetchTurns {
  /** Partitions that gave something; the longer ago, the earlier. */
  readonly #served = new Set<number>();
  readonly #failures = new Map<number, { readonly count: number; readonly untilMs: number }>();

  /** Those of `partitions` to ask for, in this order. One that failed waits, unless all of them do. */
  turn(partitions: Iterable<number>, nowMs: number): number[] {
    const wanted = new Set(partitions);
    const fresh = [...wanted].filter((partition) => !this.#served.has(partition)).sort((a, b) => a - b);
    const ordered = [...fresh, ...[...this.#served].filter((partition) => wanted.has(partition))];
    const due = ordered.filter((partition) => (this.#failures.get(partition)?.untilMs ?? 0) <= nowMs);
    return due.length > 0 ? due : ordered;
  }

  /** A partition answered; `gave` says whether it had records. */
  answered(partition: number, gave: boolean): void {
    this.#failures.delete(partition);
    if (!gave) return;
    this.#served.delete(partition);
    this.#served.add(partition);
  }

  /** A partition could not be read: it is left out for a while, longer each time. */
  failed(partition: number, nowMs: number): void {
    const count = (this.#failures.get(partition)?.count ?? 0) + 1;
    const waitMs = Math.min(BACKOFF_MS.first * 2 ** (count - 1), BACKOFF_MS.last);
    this.#failures.set(partition, { count, untilMs: nowMs + waitMs });
  }
}

const BACKOFF_MS = { first: 100, last: 10_000 };

/** What one broker is asked for. */
export interface LeaderShare {
  readonly leader: BrokerAddress;
  /** In the order in which the broker should look at them. */
  readonly partitions: readonly number[];
  /** Of all its partitions together. */
  readonly maxBytes: number;
}

export interface FetchPlan {
  readonly shares: readonly LeaderShare[];
  /** The most of each partition; together they may be more than `maxBytes`. */
  readonly partitionBytes: number;
  /** What each would have if all had as much. */
  readonly equalBytes: number;
  /** Partitions that nobody leads. */
  readonly leaderless: readonly number[];
}

/**
 * The least share of a partition, if the whole fetch may be as large: as Kafka's own clients have it. Of a topic with
 * hundreds of partitions an equal share could be less than one batch, and then a fetch would give a single batch.
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
