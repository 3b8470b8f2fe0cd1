import { TidelineError } from "../../core/errors.ts";
import type { TidelineRedis } from "./redis.ts";

/**
 * Throws REDIS_EVICTS unless Redis keeps every key until it is deleted: with evicted live state, answers would be
 * wrong. If INFO is not allowed or does not contain the policy, the policy is unknown, and nothing is thrown.
 */
export async function requireNoEviction(redis: TidelineRedis): Promise<void> {
  const info = await redis.info("memory").catch((error: unknown) => {
    if (/^(NOPERM|ERR unknown command)/.test((error as Error).message)) return "";
    throw error;
  });
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
  if (policy === undefined || policy === "noeviction") return;
  throw new TidelineError(
    "REDIS_EVICTS",
    `Redis may delete live state by itself: its maxmemory-policy is ${policy}`,
    "Run CONFIG SET maxmemory-policy noeviction and put the same into " +
      "redis.conf. Views continue by themselves within a minute.",
  );
}
