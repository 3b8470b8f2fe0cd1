import { once } from "node:events";
import { TidelineError } from "../../core/errors.ts";
import { openRedis } from "./redis.ts";

const PATIENCE_MS = 5_000;
const KEYS_AT_ONCE = 500;

/**
 * Deletes every key of the installation with this namespace. None of its roles may run. Throws NOT_READY when Redis
 * does not answer, RangeError for the empty namespace, whose keys cannot be distinguished from others.
 */
export async function deleteLiveState(url: string, namespace: string): Promise<void> {
  if (namespace === "") throw new RangeError("a namespace is needed");
  let last: Error | undefined;
  const redis = openRedis(url, (error) => {
    last = error;
  });
  try {
    await once(redis, "ready", { signal: AbortSignal.timeout(PATIENCE_MS) }).catch((error: unknown) => {
      throw silent(last ?? error);
    });
    for (const match of [`tl:{${namespace}/*`, `tl:${namespace}/*`])
      for await (const keys of redis.scanStream({ match, count: KEYS_AT_ONCE }) as AsyncIterable<string[]>)
        if (keys.length > 0) await redis.unlink(...keys);
  } finally {
    redis.disconnect();
  }
}

/**
 * Returns the error of a Redis that does not answer. The client's last error says more than that the wait has ended.
 */
function silent(cause: unknown): TidelineError {
  const why = cause instanceof Error && cause.name !== "AbortError" ? `: ${cause.message}` : "";
  const hint = "Start it, or set REDIS_URL to the one that runs.";
  return new TidelineError("NOT_READY", `Redis does not answer${why}`, hint, { cause });
}
