import { TidelineError } from "../../core/errors.ts";
import type { TidelineRedis } from "../../store/redis/redis.ts";
import { inTime } from "./patience.ts";

/**
 * Throws NOT_READY when Redis does not answer within seconds. Without this check, commands would wait until Redis is
 * back.
 */
export async function requireRedis(redis: TidelineRedis, nothingDone: string): Promise<void> {
  await inTime(redis.ping()).catch((cause: unknown) => {
    throw new TidelineError("NOT_READY", "Redis does not answer", `${nothingDone} Start Redis and try again.`, {
      cause,
    });
  });
}
