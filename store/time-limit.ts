import { setTimeout as delay } from "node:timers/promises";

/**
 * What `work` gives, or null when it takes longer: Redis can be away for long, and the client then waits for it. The
 * work itself continues, so it has to be harmless whenever it happens, as the protocol's scripts are.
 */
export async function within<T>(limitMs: number, work: () => Promise<T>): Promise<T | null> {
  const timer = new AbortController();
  const done = work();
  done.catch(() => {}); // seen below, unless the time was up first
  try {
    return await Promise.race([done, delay(limitMs, null, { signal: timer.signal })]);
  } finally {
    timer.abort();
  }
}
