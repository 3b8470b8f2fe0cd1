import { type ComparedLog, type Reached, requireReached } from "../store/kafka/read/log-check.ts";
import type { Chain } from "../store/redis/chain.ts";
import { withinOrNull } from "../store/time-limit.ts";
import type { BatchStores } from "./stores.ts";

/** Checks that the log is still the one that the archive and a view's chain were built from (invariant 10). */

type Stores = Pick<BatchStores, "archive" | "log">;

const REDIS_MS = 5_000;

/** Throws LOG_TRUNCATED when the log does not continue the archive of a partition. */
export async function requireArchived(
  { archive, log }: Stores,
  topic: string,
  topicId: string,
  partition: number,
): Promise<void> {
  const tail = await archive.tail(topic, topicId, partition);
  if (tail !== null)
    await requireReached({ log, topic, topicId, bounds: await log.bounds(topic, [partition]) }, [[partition, tail]]);
}

/**
 * Throws LOG_TRUNCATED when the log does not continue the archive, or is not the one that the chain was built from. If
 * Redis does not answer, the chain counts as lost. A partition without a leader is not compared: nothing can be read of
 * it until it has one, and then it is compared.
 */
export async function requireOurLog(
  { archive, log }: Stores,
  topic: string,
  chain: Chain,
  redisMs: number = REDIS_MS,
): Promise<void> {
  const { id } = await log.topic(topic);
  const tails = await archive.tails(topic, id);
  const applied = await withinOrNull(redisMs, () => chain.reached());
  const bounds = await log.readableBounds(topic);
  const compared: ComparedLog = { log, topic, topicId: id, bounds };
  const led = (reached: Iterable<readonly [number, Reached]>) =>
    [...reached].filter(([partition]) => !bounds.leaderless.includes(partition));
  await requireReached(compared, led(tails));
  await requireReached(compared, led(applied ?? new Map<number, Reached>()));
}
