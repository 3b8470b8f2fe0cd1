import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { Definition, Definitions } from "../store/definitions.ts";
import { DuckPool } from "../store/duck.ts";
import { DataDirectory } from "../store/files.ts";
import { Manifests } from "../store/manifests.ts";
import { openRedis, type TidelineRedis } from "../store/redis.ts";
import { BatchStates } from "./batch-states.ts";
import { dimensionTypes } from "./dimension-types.ts";
import { DuckQueue } from "./duck-queue.ts";
import { createApp } from "./http.ts";
import { createMetrics } from "./metrics.ts";
import type { DescribedView } from "./openapi.ts";
import { Reader } from "./reader.ts";
import { RedisGate } from "./redis-gate.ts";
import { SegmentCache } from "./segment-cache.ts";
import { Standings } from "./standings.ts";

export interface ServingOptions {
  readonly redisUrl: string;
  readonly dataDir: string;
  readonly namespace: string;
  readonly definitions: Definitions;
  /** 0: a free one. */
  readonly port: number;
  readonly host: string;
  readonly logger: Logger;
  readonly duckThreads?: number;
  readonly memoryLimitMb?: number;
  /** Requests that one address may send in a minute; 0: no limit. */
  readonly requestsPerMinute?: number;
  /** Cells that one answer may have before it is sorted and limited. */
  readonly maxAnswerCells?: number;
  /** Cells of closed segments, and again of batch answers, that are kept in memory. */
  readonly maxCachedCells?: number;
  readonly version?: string;
}

export interface RunningServing {
  readonly port: number;
  /** Stops accepting, lets the requests under way finish, then lets go of Redis and DuckDB. */
  close(): Promise<void>;
}

/** At most so many registers of distinct counts are merged for one answer: about 200 MB while it is made. */
const MAX_REGISTERS = 4_000_000;

/** Starts the HTTP API. */
export async function startServing(options: ServingOptions): Promise<RunningServing> {
  const { dataDir, definitions, namespace, logger, maxAnswerCells = 200_000, maxCachedCells = 1_000_000 } = options;
  const pool = await DuckPool.open({
    threads: options.duckThreads ?? 2,
    memoryLimitMb: options.memoryLimitMb ?? 512,
    directories: [dataDir],
  });
  const ducks = await DuckQueue.open(pool, { connections: 4, maxWaiting: 256, timeoutMs: 20_000 });
  const redis = openRedis(options.redisUrl, (error) => logger.warn({ err: error }, "Redis is away"));
  const gate = new RedisGate(redis);
  const data = new DataDirectory(dataDir);
  const limits = { maxCells: maxAnswerCells, maxRegisters: MAX_REGISTERS };
  const batch = new BatchStates(data, ducks, { maxCachedCells, limits });
  const standings = new Standings({ manifests: new Manifests(data), gate, namespace });
  const reader = new Reader({ standings, batch, segments: new SegmentCache(gate, maxCachedCells), limits });
  const release = () => {
    redis.disconnect();
    ducks.close();
    pool.close();
  };
  try {
    const views = await describe(pool, definitions.views.values());
    const { requestsPerMinute = 60_000, version = "0.1.0" } = options;
    const app = await createApp(
      { reader, standings, gate, views, metrics: createMetrics() },
      { logger, requestsPerMinute, version },
    );
    await redisOr(redis, 2_000);
    await app.listen({ port: options.port, host: options.host });
    const { port } = app.server.address() as AddressInfo;
    return { port, close: () => app.close().finally(release) };
  } catch (error) {
    release();
    throw error;
  }
}

async function describe(pool: DuckPool, definitions: Iterable<Definition>): Promise<Map<string, DescribedView>> {
  const duck = await pool.connect();
  try {
    const views = new Map<string, DescribedView>();
    for (const definition of definitions)
      views.set(definition.view.name, { definition, types: await dimensionTypes(duck, definition.view) });
    return views;
  } finally {
    duck.closeSync();
  }
}

/** Waits for Redis, but not for long: without it there are still batch versions to answer from. */
async function redisOr(redis: TidelineRedis, limitMs: number): Promise<void> {
  if (redis.status === "ready") return;
  await once(redis, "ready", { signal: AbortSignal.timeout(limitMs) }).catch(() => {});
}
