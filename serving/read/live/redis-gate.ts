import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleAll } from "cockatiel";
import type { TidelineRedis } from "../../../store/redis/redis.ts";

/** Redis did not answer; `message` says so in words that may be shown to a client. */
export class RedisSilent extends Error {
  override readonly name = "RedisSilent";
}

/**
 * Every question that serving asks of Redis: time-boxed, and not asked at all while Redis is known to be silent, so
 * that a Redis that hangs costs a few requests a second each, not all of them.
 */
export class RedisGate {
  readonly redis: TidelineRedis;
  readonly #breaker = circuitBreaker(handleAll, { halfOpenAfter: 1_000, breaker: new ConsecutiveBreaker(3) });

  constructor(redis: TidelineRedis) {
    this.redis = redis;
  }

  /** Throws RedisSilent when there is no answer within `limitMs`. */
  async ask<T>(limitMs: number, question: () => Promise<T>): Promise<T> {
    // A command that is given to a connection that is down would wait in a queue without bound.
    if (this.redis.status !== "ready") throw new RedisSilent("Redis cannot be reached");
    try {
      return await this.#breaker.execute(() => within(limitMs, question));
    } catch (cause) {
      const why =
        cause instanceof BrokenCircuitError
          ? "Redis has not been answering"
          : `Redis gave no answer within ${limitMs} ms`;
      throw new RedisSilent(isReply(cause) ? "Redis refused to answer" : why, { cause });
    }
  }
}

/** A timer and nothing else: the abort signals of a timeout policy took a twentieth of a keyed read. */
function within<T>(limitMs: number, question: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no answer in time")), limitMs);
    question()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}

function isReply(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "ReplyError";
}
