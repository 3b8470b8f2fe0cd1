import type { TidelineRedis } from "./redis.ts";

/**
 * Views that the speed layer wants published before their next schedule, because their live cells grow towards the
 * limit. They are a set in Redis, so that repeated requests for a view count once. A lost request is made again while
 * the view still grows.
 */
export class SettleRequests {
  readonly #redis: TidelineRedis;
  readonly #key: string;

  constructor(redis: TidelineRedis, namespace: string) {
    this.#redis = redis;
    this.#key = `tl:${namespace === "" ? "" : `${namespace}/`}settle`;
  }

  async add(view: string): Promise<void> {
    await this.#redis.sadd(this.#key, view);
  }

  /** Returns the names of all views that were requested since the last call, and removes them from the set. */
  async take(): Promise<string[]> {
    return this.#redis.spop(this.#key, 1_000);
  }
}
