import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import type { ViewTarget } from "../../../batch-layer/stores.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import type { SpeedMetrics } from "../../../speed-layer/metrics.ts";
import type { DuckPool } from "../../../store/duckdb/duck.ts";
import type { TidelineRedis } from "../../../store/redis/redis.ts";
import type { Protocol } from "./modules.ts";
import { parcels, weights } from "./parcels.ts";

export const generation = generationOf(weights);
export const target: ViewTarget = { stream: parcels, view: weights, generation, topic: parcels.name };
export const definition = { view: weights, generation, file: "test" };

/** Servers and program that simulations are made in, one after the other. */
export class Environment {
  readonly protocol: Protocol;
  readonly redis: TidelineRedis;
  readonly pool: DuckPool;
  readonly metrics: SpeedMetrics;
  readonly root: string;

  private constructor(protocol: Protocol, redis: TidelineRedis, pool: DuckPool, root: string) {
    this.protocol = protocol;
    this.redis = redis;
    this.pool = pool;
    this.root = root;
    this.metrics = protocol.speedMetrics(new Registry());
  }

  /** `redisUrl` names a database of Redis that is emptied for every simulation. */
  static async open(protocol: Protocol, redisUrl: string): Promise<Environment> {
    const root = await mkdtemp(join(tmpdir(), "tideline-simulations-"));
    const pool = await protocol.DuckPool.open({
      threads: 1,
      memoryLimitMb: 512,
      directories: [root],
      keepsPlans: true,
    });
    return new Environment(
      protocol,
      protocol.openRedis(redisUrl, () => undefined),
      pool,
      root,
    );
  }

  async close(): Promise<void> {
    await this.redis.flushdb();
    this.redis.disconnect();
    this.pool.close();
    await rm(this.root, { recursive: true, force: true });
  }
}
