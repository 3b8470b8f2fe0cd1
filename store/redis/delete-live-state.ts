import { once } from "node:events";
import { TidelineError } from "../../core/errors.ts";
import { openRedis } from "./redis.ts";

const PATIENCE_MS = 5_000;
const KEYS_AT_ONCE = 500;

/**
 * Deletes every key of the installation with this namespace. No role of it may run. Throws NOT_READY when Redis does
 * not answer, RangeError for the empty namespace, whose keys are not told from those of others.
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

/** What the client met last says more than that it waited in vain. */
function silent(cause: unknown): TidelineError {
  const why = cause instanceof Error && cause.name !== "AbortError" ? `: ${cause.message}` : "";
  const hint = "Start it, or set REDIS_URL to the one that runs.";
  return new TidelineError("NOT_READY", `Redis does not answer${why}`, hint, { cause });
}
