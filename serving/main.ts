import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import type { Registry } from "prom-client";
import { hostCheck, isLoopback } from "../core/hosts.ts";
import { ApiKeys } from "../store/api-keys/api-keys.ts";
import type { TidelineRedis } from "../store/redis/redis.ts";
import { KeyCheck } from "./access/key-check.ts";
import type { Helper } from "./helper.ts";
import { createApp, type HttpOptions } from "./http.ts";
import { type OpenOptions, openServing } from "./open-serving.ts";
import type { Serving } from "./request/serving.ts";

export interface ServingOptions extends OpenOptions {
  /** 0: any free port. */
  readonly port: number;
  readonly host: string;
  /** TIDELINE_ALLOWED_HOSTS; null when it is not set. */
  readonly allowedHosts?: readonly string[] | null;
  /**
   * The directory with the API keys (TIDELINE_HOME), and whether everything but the page, health and metrics needs a
   * key. Without this setting there are no keys, and a server that listens beyond loopback shows no records.
   */
  readonly apiKeys?: { readonly home: string; readonly isRequired: boolean } | null;
  /**
   * The secret of the only caller that is answered. Set in the helper process, whose caller is the server that started
   * it.
   */
  readonly callerSecret?: string;
  /** The most requests that one address may send in a minute; 0: no limit. */
  readonly requestsPerMinute?: number;
  readonly version?: string;
}

export interface RunningServing {
  readonly port: number;
  /** The metrics of GET /metrics. */
  readonly registry: Registry;
  /** Stops accepting requests, lets the current ones finish, then closes Redis and DuckDB. */
  close(): Promise<void>;
}

/** How long a starting server waits for Redis. */
const REDIS_PATIENCE_MS = 2_000;

/** How long a closing server waits for its current requests. */
const CLOSE_PATIENCE_MS = 15_000;

/** Starts the HTTP API. */
export async function startServing(options: ServingOptions): Promise<RunningServing> {
  const { serving, redis, helper, release } = await openServing(options);
  try {
    const app = await createApp(serving, httpOptions(options, helper));
    await redisOr(redis, REDIS_PATIENCE_MS);
    await Promise.all([serving.problems.start(), serving.ownAlerts.start()]);
    await app.listen({ port: options.port, host: options.host });
    const { port } = app.server.address() as AddressInfo;
    loadManifests(serving);
    const close = async () => {
      await closeApp(app);
      await release();
    };
    return { port, registry: serving.metrics.registry, close };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Returns the settings of HTTP: allowed hosts, keys, and the rate limit. */
function httpOptions(options: ServingOptions, helper: Helper | null): HttpOptions {
  const { host, logger, allowedHosts = null, apiKeys = null, callerSecret = null } = options;
  const { requestsPerMinute = 60_000, version = "0.1.0" } = options;
  return {
    logger,
    isAllowedHost: hostCheck({ listensOn: host, names: allowedHosts }),
    requestsPerMinute,
    version,
    helper,
    keys: new KeyCheck(apiKeys === null ? null : new ApiKeys(apiKeys.home), logger),
    callerSecret,
    policy: { isLocal: isLoopback(host), isRequired: apiKeys?.isRequired ?? false },
  };
}

/** Waits for Redis, but not for long: without Redis the server can still answer from batch versions. */
async function redisOr(redis: TidelineRedis, limitMs: number): Promise<void> {
  if (redis.status === "ready") return;
  await once(redis, "ready", { signal: AbortSignal.timeout(limitMs) }).catch(() => {});
}

/** Begins to read the newest manifests, so that the first answers need not wait for them. */
function loadManifests({ views, statuses }: Serving): void {
  for (const { definition } of views.values()) statuses.manifest(definition, "newest").catch(() => undefined);
}

/** Lets the current requests finish, but does not wait for long. */
async function closeApp(app: FastifyInstance): Promise<void> {
  const late = setTimeout(() => app.server.closeAllConnections(), CLOSE_PATIENCE_MS).unref();
  await app.close().finally(() => clearTimeout(late));
}
