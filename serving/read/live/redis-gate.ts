import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import type { TidelineRedis } from "../../../store/redis/redis.ts";
import { NoAnswerInTime, within } from "../../../store/time-limit.ts";

/** Redis gave no answer that can be used; `message` says why in words that may be shown to a client. */
export class RedisSilent extends Error {
  override readonly name = "RedisSilent";
}

/** The same reason is reported at most once in this time. */
const REPORT_EVERY_MS = 60_000;

/**
 * Every question that serving asks of Redis: time-boxed, and not asked at all while Redis is known to be silent, so
 * that a Redis that hangs costs a few requests a second each, not all of them.
 */
export class RedisGate {
  readonly redis: TidelineRedis;
  readonly #onAbsence: (reason: Error) => void;
  readonly #reportedAtMs = new Map<string, number>();
  // A Redis that refuses a command answers at once, and may answer the next one.
  readonly #breaker = circuitBreaker(handleWhen(isNoReply), {
    halfOpenAfter: 1_000,
    breaker: new ConsecutiveBreaker(3),
  });

  /**
   * `onAbsence` is called when Redis gives no answer, or none that can be read: once a minute for each reason. `cause`
   * has the error of the client, or of decoding.
   */
  constructor(redis: TidelineRedis, onAbsence: (reason: Error) => void = () => {}) {
    this.redis = redis;
    this.#onAbsence = onAbsence;
  }

  /**
   * Throws RedisSilent when there is no answer within `limitMs`, or Redis refuses. Any other error of `question` is a
   * fault of the program, and is thrown as it is.
   */
  async ask<T>(limitMs: number, question: () => Promise<T>): Promise<T> {
    // A command that is given to a connection that is down would wait in a queue without bound.
    if (this.redis.status !== "ready") throw new RedisSilent("Redis cannot be reached");
    try {
      return await this.#breaker.execute(() => within(limitMs, question));
    } catch (cause) {
      if (cause instanceof BrokenCircuitError) throw new RedisSilent("Redis has not been answering", { cause });
      const reason = reasonOf(cause, limitMs);
      if (reason === null) throw cause;
      const silent = new RedisSilent(reason, { cause });
      this.report(silent);
      throw silent;
    }
  }

  /** Reports why live state is absent, unless the same was reported within the last minute. */
  report(reason: Error): void {
    const nowMs = Date.now();
    if (nowMs - (this.#reportedAtMs.get(reason.message) ?? Number.NEGATIVE_INFINITY) < REPORT_EVERY_MS) return;
    this.#reportedAtMs.set(reason.message, nowMs);
    this.#onAbsence(reason);
  }
}

/** Null for an error that says nothing about Redis. */
function reasonOf(error: unknown, limitMs: number): string | null {
  if (error instanceof NoAnswerInTime) return `Redis gave no answer within ${limitMs} ms`;
  if (isConnectionError(error)) return "the connection to Redis broke";
  if (!(error instanceof Error) || error.name !== "ReplyError") return null;
  // The first word is a code in capitals, such as NOAUTH or LOADING. What follows may name keys.
  const [code] = /^[A-Z]+\b/.exec(error.message) ?? ["ERR"];
  return `Redis refused: ${code}`;
}

function isNoReply(error: unknown): boolean {
  return error instanceof NoAnswerInTime || isConnectionError(error);
}

/** Errors that the client makes itself: it has no class for a connection that was closed. */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const isSystemError = "syscall" in error;
  return isSystemError || error.name === "AbortError" || error.message === "Connection is closed.";
}
