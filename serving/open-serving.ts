import type { Logger } from "pino";
import { ANSWER_LIMITS, type BudgetLimits, SMALL_ANSWER_LIMITS } from "../core/query/budget.ts";
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
import { OwnAlerts } from "./alerts/own-alerts.ts";
import { ServedAlerts } from "./alerts/served-alerts.ts";
import { LiveFeeds } from "./answer/live-feeds.ts";
import { problemEvent } from "./common/problem.ts";
import { Helper, type HelperOptions } from "./helper.ts";
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
import type { Serving } from "./request/serving.ts";
import { JoinedTables } from "./views/joined-tables.ts";
import { ServedViews } from "./views/served-views.ts";

export interface OpenOptions {
  readonly redisUrl: string;
  /** Used for answers about earlier positions: records that are not archived yet are read from the log. */
  readonly kafkaBrokers: string;
  readonly dataDir: string;
  readonly namespace: string;
  readonly definitions: Definitions;
  /** TIDELINE_SCHEMA_REGISTRY; if it is not set, the registry is in the data directory. */
  readonly schemaRegistry?: string | null;
  readonly logger: Logger;
  /**
   * Starts the helper process, for answers that are too large for this one's event loop. Without it this process
   * answers everything.
   */
  readonly startHelper?: HelperOptions["start"] | null;
  readonly duckThreads?: number;
  readonly memoryLimitMb?: number;
  /** The most live streams that may be open at once. */
  readonly maxStreams?: number;
  /** How long recomputing an earlier position may take. */
  readonly recomputeTimeoutMs?: number;
  /** How long a proof may take. */
  readonly proofTimeoutMs?: number;
  /** The most characters of one live answer, and of the newest answers of all live streams. */
  readonly maxLiveAnswerSize?: number;
  readonly maxLiveHeldSize?: number;
  /** The most cells that one answer may have before it is sorted and limited. */
  readonly maxAnswerCells?: number;
  /** The most cells in memory in each of three caches: closed segments, batch answers, and both merged. */
  readonly maxCachedCells?: number;
}

type Settings = Required<OpenOptions>;

const DEFAULTS = {
  schemaRegistry: null,
  startHelper: null,
  duckThreads: 2,
  memoryLimitMb: 512,
  maxStreams: 1_000,
  recomputeTimeoutMs: 60_000,
  proofTimeoutMs: 30 * 60_000,
  maxLiveAnswerSize: 4_000_000,
  maxLiveHeldSize: 64_000_000,
  maxAnswerCells: ANSWER_LIMITS.cells,
  maxCachedCells: 1_000_000,
};

/** A server with a helper recomputes at most this many records itself: some milliseconds of decoding. */
const SMALL_RECOMPUTED_RECORDS = 10_000;

/** A version with at least this many state rows is likely to get queries that are too large for the server. */
const LARGE_ROWS = 500_000;

/** The state that the routes answer from, and the function that closes it. */
export interface OpenServing {
  readonly serving: Serving;
  readonly redis: TidelineRedis;
  readonly helper: Helper | null;
  /** Ends all work and closes every client. */
  release(): Promise<void>;
}

/** Opens the stores and their readers. Waits neither for Redis nor for Kafka. */
export async function openServing(options: OpenOptions): Promise<OpenServing> {
  const settings = { ...DEFAULTS, ...options };
  const { definitions, namespace, logger, startHelper } = settings;
  const stores = await openStores(settings);
  const { data, redis, gate, pool, ducks } = stores;
  const helper = startHelper === null ? null : new Helper({ start: startHelper, logger });
  // Failures of this server concern only this server, so they are not stored in Redis. Its answers show them.
  const failures = new FailureTracker(null);
  const problems = new Problems(new Failures(redis, namespace), gate, failures);
  const { reader, statuses, limits, batch, recomputations } = openReaders(stores, settings, { helper, problems });
  const ofLog = openLogReaders(stores, settings, { reader, statuses, limits });
  const feeds = openFeeds(settings, { reader, statuses, helper });
  const ownAlerts = new OwnAlerts(data, logger);
  const releaseRest = async () => {
    problems.close();
    ownAlerts.close();
    await helper?.close();
    await ofLog.proofs.close();
    await ofLog.records.close();
    await ofLog.histories.close();
    await recomputations.close();
    await Promise.all([stores.log.close(), feeds.alerts.close(), batch.close()]);
    closeStores(stores);
  };
  const views = await ServedViews.open(pool, new Generations(data), definitions, { failures, logger }).catch(
    async (error: unknown) => {
      await releaseRest();
      throw error;
    },
  );
  const serving = {
    ...{ reader, statuses, views, problems, ownAlerts, gate, namespace, ...feeds, ...ofLog },
    waits: new PositionWaits(statuses),
    joins: new JoinedTables({ definitions: definitions.joined ?? new Map(), views, pool, ducks }),
    changes: new Changes(),
    dictionary: () => dictionaryOf(definitions, namespace),
    metrics: createMetrics(() => problems.all(), helper),
  };
  const release = async () => {
    views.close();
    await releaseRest();
  };
  return { serving, redis, helper, release };
}

/** The places where data is stored, and their clients. */
interface Stores {
  readonly data: DataDirectory;
  readonly archive: Archive;
  readonly manifests: Manifests;
  readonly log: LogReader;
  readonly schemas: Schemas;
  readonly redis: TidelineRedis;
  readonly gate: RedisGate;
  readonly pool: DuckPool;
  /** For the SQL of answers. */
  readonly ducks: DuckQueue;
  /** For scans of archive files. */
  readonly scans: DuckQueue;
}

async function openStores(settings: Settings): Promise<Stores> {
  const { dataDir, duckThreads: threads, memoryLimitMb, logger } = settings;
  const pool = await DuckPool.open({ threads, memoryLimitMb, directories: [dataDir], keepsMetadata: true });
  const ducks = await DuckQueue.open(pool, { connections: 4, maxWaiting: 256, timeoutMs: 60_000 });
  const scans = await DuckQueue.open(pool, { connections: 1, maxWaiting: 16, timeoutMs: 60_000 });
  // Errors of Redis are not counted here: `Problems` asks Redis every second and counts its failures.
  const redis = openRedis(settings.redisUrl, (error) => logger.warn({ err: error }, "Redis is away"));
  const gate = new RedisGate(redis, ({ message, cause }) => logger.warn({ err: cause }, message));
  const data = new DataDirectory(dataDir);
  const log = new LogReader({ brokers: settings.kafkaBrokers, clientId: "tideline-serve" });
  const schemas = new Schemas(data, openRegistry(data, settings.schemaRegistry));
  return {
    data,
    archive: new Archive(data),
    manifests: new Manifests(data),
    log,
    schemas,
    redis,
    gate,
    pool,
    ducks,
    scans,
  };
}

/** Closes all stores except the log, which its readers close. */
function closeStores({ redis, ducks, scans, pool }: Stores): void {
  redis.disconnect();
  ducks.close();
  scans.close();
  pool.close();
}

/** The readers that answer queries of views, at the newest position and at earlier ones. */
interface Readers {
  readonly reader: Reader;
  readonly statuses: ViewStatuses;
  /** The most that one answer may cost in this process. */
  readonly limits: BudgetLimits;
  readonly batch: BatchStates;
  readonly recomputations: Recomputations;
}

function openReaders(
  stores: Stores,
  { kafkaBrokers: brokers, namespace, maxAnswerCells, maxCachedCells, recomputeTimeoutMs }: Settings,
  { helper, problems }: { readonly helper: Helper | null; readonly problems: Problems },
): Readers {
  const { data, manifests, gate, ducks } = stores;
  const limits =
    helper === null ? { ...ANSWER_LIMITS, cells: maxAnswerCells, windows: maxAnswerCells } : SMALL_ANSWER_LIMITS;
  const batch = new BatchStates(data, ducks, { maxCachedCells, limits });
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
  const recomputations = new Recomputations({
    sources: stores,
    brokers,
    namespace,
    timeoutMs: recomputeTimeoutMs,
    ...(helper === null ? {} : { maxRecords: SMALL_RECOMPUTED_RECORDS }),
  });
  const history = new History({ data, manifests, statuses, segments, recomputations });
  const reader = new Reader({ statuses, batch, segments, history, limits, maxCachedCells });
  return { reader, statuses, limits, batch, recomputations };
}

/** Opens the readers of raw records: proofs, the history of a key, pages of records, and the quality of streams. */
function openLogReaders(
  stores: Stores,
  settings: Settings,
  { reader, statuses, limits }: Pick<Readers, "reader" | "statuses" | "limits">,
): Pick<Serving, "proofs" | "histories" | "quality" | "records"> {
  const { kafkaBrokers: brokers, namespace, duckThreads: threads, memoryLimitMb } = settings;
  const { data, archive, log, manifests, pool } = stores;
  const ofKeys = { sources: stores, manifests, brokers, namespace, threads, memoryLimitMb };
  return {
    proofs: new Proofs({ ...ofKeys, statuses, reader, timeoutMs: settings.proofTimeoutMs }),
    histories: new KeyHistories({ ...ofKeys, timeoutMs: settings.recomputeTimeoutMs }),
    quality: new StreamQuality({
      streams: settings.definitions.streams,
      namespace,
      archive,
      data,
      ducks: stores.scans,
      log,
      maxRecords: limits.rows,
    }),
    records: new StreamRecords({
      brokers,
      namespace,
      pool,
      schemas: Schemas.withoutTrace(data, openRegistry(data, settings.schemaRegistry)),
    }),
  };
}

/** Opens the sources of live streams: answers of views, and alerts. */
function openFeeds(
  settings: Settings,
  { reader, statuses, helper }: Pick<Readers, "reader" | "statuses"> & Pick<OpenServing, "helper">,
): Pick<Serving, "live" | "alerts"> {
  const { kafkaBrokers: brokers, namespace, logger, maxStreams } = settings;
  return {
    live: new LiveFeeds({
      reader,
      statuses,
      logger,
      maxStreams,
      maxAnswerSize: settings.maxLiveAnswerSize,
      maxHeldSize: settings.maxLiveHeldSize,
      endLarge: helper !== null,
      tell: problemEvent,
    }),
    alerts: new ServedAlerts({ brokers, namespace, logger, maxStreams }),
  };
}
