import { TidelineError } from "../core/errors.ts";
import type { TidelineRedis } from "./redis.ts";

/**
 * Throws REDIS_EVICTS unless Redis keeps every key until it is deleted: live state that Redis evicts by itself is a wrong number. Where INFO is not
 * allowed or does not say, the policy is unknown, and nothing is thrown.
 */
export async function requireNoEviction(redis: TidelineRedis): Promise<void> {
  const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info("memory"))?.[1];
  if (policy === undefined || policy === "noeviction") return;
  throw new TidelineError(
    "REDIS_EVICTS",
    `Redis may delete live state by itself: its maxmemory-policy is ${policy}`,
    "Run CONFIG SET maxmemory-policy noeviction and put the same into redis.conf. Views go on by themselves within a minute.",
  );
}
