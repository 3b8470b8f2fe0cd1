import { current, Failure, failureKey } from "../../core/failures.ts";
import type { TidelineRedis } from "./redis.ts";

/**
 * The repeated failures of an installation: one hash in Redis, a field for each. The speed layer and the worker write
 * it; the API, `status` and `doctor` read it. It can be lost like everything in Redis, and the writers write it again.
 */
export class Failures {
  readonly #redis: TidelineRedis;
  readonly #key: string;

  constructor(redis: TidelineRedis, namespace: string) {
    this.#redis = redis;
    this.#key = `tl:${namespace === "" ? "" : `${namespace}/`}failures`;
  }

  /**
   * Stores `failures` and removes the fields `gone`, in one step. Does nothing while Redis is away, because commands
   * would wait in a queue.
   */
  async write(failures: readonly Failure[], gone: readonly string[]): Promise<void> {
    if (this.#redis.status !== "ready" || failures.length + gone.length === 0) return;
    const transaction = this.#redis.multi();
    if (gone.length > 0) transaction.hdel(this.#key, ...gone);
    for (const failure of failures) transaction.hset(this.#key, failureKey(failure), JSON.stringify(failure));
    await transaction.exec();
  }

  /**
   * Returns the failures that have not expired at `nowMs`. Leaves out fields of another form, which a later release may
   * have written.
   */
  async read(nowMs: number): Promise<Failure[]> {
    const fields = await this.#redis.hvals(this.#key);
    return current(fields.flatMap(parsed), nowMs);
  }

  /** Removes fields that were not renewed, because their processes have ended. */
  async sweep(nowMs: number): Promise<void> {
    if (this.#redis.status !== "ready") return;
    const fields = Object.entries(await this.#redis.hgetall(this.#key));
    const gone = fields.filter(([, text]) => current(parsed(text), nowMs).length === 0).map(([field]) => field);
    if (gone.length > 0) await this.#redis.hdel(this.#key, ...gone);
  }
}

function parsed(text: string): Failure[] {
  try {
    const { success, data } = Failure.safeParse(JSON.parse(text));
    return success ? [data] : [];
  } catch {
    return [];
  }
}
