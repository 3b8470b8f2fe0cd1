import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import type { TidelineRedis } from "../../../store/redis/redis.ts";
import { NoAnswerInTime, within } from "../../../store/time-limit.ts";

/** Redis gave no usable answer; `message` says why, and may be shown to a client. */
export class RedisSilent extends Error {
  override readonly name = "RedisSilent";
}

/** The same reason is reported at most once in this time. */
const REPORT_EVERY_MS = 60_000;

/**
 * Makes every request of serving to Redis. Each request has a time limit. While Redis is known not to answer, most
 * requests are refused at once, so that a Redis that hangs delays a few requests a second and not all of them.
 */
export class RedisGate {
  readonly redis: TidelineRedis;
  readonly #onAbsence: (reason: Error) => void;
  readonly #reportedAtMs = new Map<string, number>();
  // A Redis that refuses a command does answer, and may accept the next command.
  readonly #breaker = circuitBreaker(handleWhen(isNoReply), {
    halfOpenAfter: 1_000,
    breaker: new ConsecutiveBreaker(3),
  });

  /**
   * `onAbsence` is called when Redis gives no answer, or one that cannot be read: once a minute for each reason.
   * `cause` is the error of the client or of the decoder.
   */
  constructor(redis: TidelineRedis, onAbsence: (reason: Error) => void = () => {}) {
    this.redis = redis;
    this.#onAbsence = onAbsence;
  }

  /**
   * Throws RedisSilent when there is no answer within `limitMs`, or when Redis refuses. Any other error of `question`
   * is a fault of the program, and is thrown as it is.
   */
  async ask<T>(limitMs: number, question: () => Promise<T>): Promise<T> {
    // On a connection that is down, commands would wait in an unbounded queue.
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

  /** Reports why there is no live state, unless the same reason was reported within the last minute. */
  report(reason: Error): void {
    const nowMs = Date.now();
    if (nowMs - (this.#reportedAtMs.get(reason.message) ?? Number.NEGATIVE_INFINITY) < REPORT_EVERY_MS) return;
    this.#reportedAtMs.set(reason.message, nowMs);
    this.#onAbsence(reason);
  }
}

/** Returns the reason that an error gives; null if the error says nothing about Redis. */
function reasonOf(error: unknown, limitMs: number): string | null {
  if (error instanceof NoAnswerInTime) return `Redis gave no answer within ${limitMs} ms`;
  if (isConnectionError(error)) return "the connection to Redis broke";
  if (!(error instanceof Error) || error.name !== "ReplyError") return null;
  // The first word is a code in capitals, such as NOAUTH or LOADING. The rest may name keys, so it is not shown.
  const [code] = /^[A-Z]+\b/.exec(error.message) ?? ["ERR"];
  return `Redis refused: ${code}`;
}

function isNoReply(error: unknown): boolean {
  return error instanceof NoAnswerInTime || isConnectionError(error);
}

/** Whether the Redis client made this error itself. The client has no class for errors of a closed connection. */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const isSystemError = "syscall" in error;
  return isSystemError || error.name === "AbortError" || error.message === "Connection is closed.";
}
