import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { hostCheck, isLoopback } from "../core/hosts.ts";
import { ANSWER_LIMITS, SMALL_ANSWER_LIMITS } from "../core/query/budget.ts";
import { ApiKeys } from "../store/api-keys/api-keys.ts";
import { Archive } from "../store/archive/archive.ts";
import { Manifests } from "../store/archive/manifests.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import { dictionaryOf } from "../store/definitions/dictionary.ts";
import { Generations } from "../store/definitions/generations.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { FailureTracker } from "../store/redis/failure-tracker.ts";
import { Failures } from "../store/redis/failures.ts";
import { openRedis, type TidelineRedis } from "../store/redis/redis.ts";
import { openRegistry } from "../store/registry/registry-open.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import { KeyCheck } from "./access/key-check.ts";
import { OwnAlerts } from "./alerts/own-alerts.ts";
import { ServedAlerts } from "./alerts/served-alerts.ts";
import { LiveFeeds } from "./answer/live-feeds.ts";
import { problemEvent } from "./common/problem.ts";
import { Helper, type HelperOptions } from "./helper.ts";
import { createApp } from "./http.ts";
import { createMetrics } from "./operations/metrics.ts";
import { Changes } from "./operations/overview.ts";
import { Problems } from "./operations/problems.ts";
import { StreamQuality } from "./operations/stream-quality.ts";
import { KeyHistories } from "./proof/key-history.ts";
import { Proofs } from "./proof/proofs.ts";
import { BatchStates } from "./read/batch/batch-states.ts";
import { DuckQueue } from "./read/batch/duck-queue.ts";
import { History } from "./read/history.ts";
import { RedisGate } from "./read/live/redis-gate.ts";
import { SegmentCache } from "./read/live/segment-cache.ts";
import { ViewStatuses } from "./read/live/view-status.ts";
import { PositionWaits } from "./read/position-waits.ts";
import { Reader } from "./read/reader.ts";
import { Recomputations } from "./read/recomputations.ts";
import { StreamRecords } from "./records/stream-records.ts";
import { JoinedTables } from "./views/joined-tables.ts";
import { ServedViews } from "./views/served-views.ts";

export interface ServingOptions {
  readonly redisUrl: string;
  /** For answers about earlier positions: what is not archived yet is read from the log. */
  readonly kafkaBrokers: string;
  readonly dataDir: string;
  readonly namespace: string;
  readonly definitions: Definitions;
  /** TIDELINE_SCHEMA_REGISTRY; without one the registry is in the data directory. */
  readonly schemaRegistry?: string | null;
  /** 0: a free one. */
  readonly port: number;
  readonly host: string;
  /** TIDELINE_ALLOWED_HOSTS; null when it is not set. */
  readonly allowedHosts?: readonly string[] | null;
  /**
   * Where the API keys are (TIDELINE_HOME), and whether everything but page, health and metrics needs one. Without it
   * no key is known: a server that listens beyond loopback shows no records.
   */
  readonly apiKeys?: { readonly home: string; readonly isRequired: boolean } | null;
  /** The one caller that is answered sends it as its key: of the process that a server starts for large answers. */
  readonly callerSecret?: string;
  readonly logger: Logger;
  /**
   * Starts a second process of this server, for what is too large for the event loop of the first. Without it this
   * process answers everything.
   */
  readonly startHelper?: HelperOptions["start"] | null;
  readonly duckThreads?: number;
  readonly memoryLimitMb?: number;
  /** Requests that one address may send in a minute; 0: no limit. */
  readonly requestsPerMinute?: number;
  /** Live streams that may be open at once. */
  readonly maxStreams?: number;
  /** How long recomputing an earlier position may take. */
  readonly recomputeTimeoutMs?: number;
  /** How long a proof may take. */
  readonly proofTimeoutMs?: number;
  /** Characters of one live answer, and of all that live streams hold. */
  readonly maxLiveAnswerSize?: number;
  readonly maxLiveHeldSize?: number;
  /** Cells that one answer may have before it is sorted and limited. */
  readonly maxAnswerCells?: number;
  /** Cells of closed segments, again of batch answers, and again of both merged, that are kept in memory. */
  readonly maxCachedCells?: number;
  readonly version?: string;
}

export interface RunningServing {
  readonly port: number;
  /** What GET /metrics answers. */
  readonly registry: Registry;
  /** Stops accepting, lets the requests under way finish, then closes Redis and DuckDB. */
  close(): Promise<void>;
}

/** A server that has a helper recomputes at most this many records itself: some milliseconds of decoding. */
const SMALL_RECOMPUTED_RECORDS = 10_000;

/** From this many state rows on, some questions about a version are likely to be too large for the server. */
const LARGE_ROWS = 500_000;

/** How long a closing server waits for requests under way. */
const CLOSE_PATIENCE_MS = 15_000;

/** Starts the HTTP API. */
export async function startServing(options: ServingOptions): Promise<RunningServing> {
  const {
    dataDir,
    definitions,
    namespace,
    logger,
    maxAnswerCells = ANSWER_LIMITS.cells,
    maxCachedCells = 1_000_000,
  } = options;
  const pool = await DuckPool.open({
    threads: options.duckThreads ?? 2,
    memoryLimitMb: options.memoryLimitMb ?? 512,
    directories: [dataDir],
    keepsMetadata: true,
  });
  const ducks = await DuckQueue.open(pool, { connections: 4, maxWaiting: 256, timeoutMs: 60_000 });
  // Not counted here: `Problems` asks Redis every second, and counts that.
  const redis = openRedis(options.redisUrl, (error) => logger.warn({ err: error }, "Redis is away"));
  const gate = new RedisGate(redis, ({ message, cause }) => logger.warn({ err: cause }, message));
  const data = new DataDirectory(dataDir);
  const { startHelper = null } = options;
  const helper = startHelper === null ? null : new Helper({ start: startHelper, logger });
  const limits =
    helper === null ? { ...ANSWER_LIMITS, cells: maxAnswerCells, windows: maxAnswerCells } : SMALL_ANSWER_LIMITS;
  const batch = new BatchStates(data, ducks, { maxCachedCells, limits });
  const manifests = new Manifests(data);
  // What this server meets concerns it alone: it is told to those who ask it.
  const failures = new FailureTracker(null);
  const problems = new Problems(new Failures(redis, namespace), gate, failures);
  const statuses = new ViewStatuses({
    manifests,
    gate,
    namespace,
    problemsOf: (generation) => problems.of(generation),
    onNewest: ({ files }) => {
      if (files.reduce((sum, { rows }) => sum + rows, 0) >= LARGE_ROWS) helper?.expect();
    },
  });
  const segments = new SegmentCache(gate, maxCachedCells);
  const log = new LogReader({ brokers: options.kafkaBrokers, clientId: "tideline-serve" });
  const schemas = new Schemas(data, openRegistry(data, options.schemaRegistry ?? null));
  const archive = new Archive(data);
  const recomputations = new Recomputations({
    sources: { data, archive, log, schemas, pool },
    brokers: options.kafkaBrokers,
    namespace,
    timeoutMs: options.recomputeTimeoutMs ?? 60_000,
    ...(helper === null ? {} : { maxRecords: SMALL_RECOMPUTED_RECORDS }),
  });
  const history = new History({ data, manifests, statuses, segments, recomputations });
  const reader = new Reader({ statuses, batch, segments, history, limits, maxCachedCells });
  const proofs = new Proofs({
    sources: { data, archive, log, schemas },
    manifests,
    statuses,
    reader,
    brokers: options.kafkaBrokers,
    namespace,
    threads: options.duckThreads ?? 2,
    memoryLimitMb: options.memoryLimitMb ?? 512,
    timeoutMs: options.proofTimeoutMs ?? 30 * 60_000,
  });
  const histories = new KeyHistories({
    sources: { data, archive, log, schemas },
    manifests,
    brokers: options.kafkaBrokers,
    namespace,
    threads: options.duckThreads ?? 2,
    memoryLimitMb: options.memoryLimitMb ?? 512,
    timeoutMs: options.recomputeTimeoutMs ?? 60_000,
  });
  const { maxStreams = 1_000 } = options;
  const live = new LiveFeeds({
    reader,
    statuses,
    logger,
    maxStreams,
    maxAnswerSize: options.maxLiveAnswerSize ?? 4_000_000,
    maxHeldSize: options.maxLiveHeldSize ?? 64_000_000,
    endLarge: helper !== null,
    tell: problemEvent,
  });
  const scans = await DuckQueue.open(pool, { connections: 1, maxWaiting: 16, timeoutMs: 60_000 });
  const quality = new StreamQuality({
    streams: definitions.streams,
    namespace,
    archive,
    data,
    ducks: scans,
    log,
    maxRecords: limits.rows,
  });
  const records = new StreamRecords({
    brokers: options.kafkaBrokers,
    namespace,
    pool,
    schemas: Schemas.withoutTrace(data, openRegistry(data, options.schemaRegistry ?? null)),
  });
  const alerts = new ServedAlerts({ brokers: options.kafkaBrokers, namespace, logger, maxStreams });
  const waits = new PositionWaits(statuses);
  const ownAlerts = new OwnAlerts(data, logger);
  const releaseRest = async () => {
    problems.close();
    ownAlerts.close();
    await helper?.close();
    await proofs.close();
    await records.close();
    await histories.close();
    await recomputations.close();
    await Promise.all([log.close(), alerts.close(), batch.close()]);
    redis.disconnect();
    ducks.close();
    scans.close();
    pool.close();
  };
  const views = await ServedViews.open(pool, new Generations(data), definitions, { failures, logger }).catch(
    async (error: unknown) => {
      await releaseRest();
      throw error;
    },
  );
  const joins = new JoinedTables({ definitions: definitions.joined ?? new Map(), views, pool, ducks });
  const release = async () => {
    views.close();
    await releaseRest();
  };
  const metrics = createMetrics(() => problems.all(), helper);
  try {
    const { allowedHosts = null, apiKeys = null, requestsPerMinute = 60_000, version = "0.1.0" } = options;
    const isAllowedHost = hostCheck({ listensOn: options.host, names: allowedHosts });
    const app = await createApp(
      {
        reader,
        statuses,
        changes: new Changes(),
        gate,
        views,
        waits,
        live,
        quality,
        records,
        alerts,
        ownAlerts,
        proofs,
        histories,
        joins,
        dictionary: () => dictionaryOf(definitions, namespace),
        namespace,
        problems,
        metrics,
      },
      {
        logger,
        isAllowedHost,
        requestsPerMinute,
        version,
        helper,
        keys: new KeyCheck(apiKeys === null ? null : new ApiKeys(apiKeys.home), logger),
        callerSecret: options.callerSecret ?? null,
        policy: { isLocal: isLoopback(options.host), isRequired: apiKeys?.isRequired ?? false },
      },
    );
    await redisOr(redis, 2_000);
    await Promise.all([problems.start(), ownAlerts.start()]);
    await app.listen({ port: options.port, host: options.host });
    const { port } = app.server.address() as AddressInfo;
    for (const { definition } of views.values()) statuses.manifest(definition, "newest").catch(() => undefined);
    const close = async () => {
      const late = setTimeout(() => app.server.closeAllConnections(), CLOSE_PATIENCE_MS).unref();
      await app.close().finally(() => clearTimeout(late));
      await release();
    };
    return { port, registry: metrics.registry, close };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Waits for Redis, but not for long: without it there are still batch versions to answer from. */
async function redisOr(redis: TidelineRedis, limitMs: number): Promise<void> {
  if (redis.status === "ready") return;
  await once(redis, "ready", { signal: AbortSignal.timeout(limitMs) }).catch(() => {});
}
