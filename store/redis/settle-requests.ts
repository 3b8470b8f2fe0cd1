import type { TidelineRedis } from "./redis.ts";

/**
 * Views that the speed layer wants published before their next schedule, because their live cells grow towards the
 * limit. A set in Redis, so that a view is wanted once however often it is asked for. A request that is lost is made
 * again while the view still grows.
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

  /** The names of all views that were asked for since the last call; they are taken from the set. */
  async take(): Promise<string[]> {
    return this.#redis.spop(this.#key, 1_000);
  }
}
