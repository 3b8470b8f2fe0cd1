import { inject } from "vitest";

/**
 * A database of the shared Redis that no other test file uses at the same time: worlds empty theirs. Others use number
 * 0.
 */
export function ownDatabase(): string {
  return `${inject("redisUrl")}/${Number(process.env.VITEST_POOL_ID)}`;
}
