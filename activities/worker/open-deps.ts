import type { MailSettings } from "../../batch-layer/report/deliver.ts";
import type { Report } from "../../batch-layer/report/report.ts";
import { Archive } from "../../store/archive/archive.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DeadLetters } from "../../store/dead-letters/letter-writer.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { type FailureTracker, openTrackedRedis } from "../../store/redis/failure-tracker.ts";
import { endRedis } from "../../store/redis/redis.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import type { RoleOptions } from "../../store/role-options.ts";
import type { ActivityDeps } from "../deps.ts";
import { batchMetrics } from "../metrics.ts";

/** The configuration of a process with activities. */
export interface DepsOptions extends RoleOptions {
  readonly definitions: Definitions;
  /** TIDELINE_RETENTION_WARN_HOURS. */
  readonly retentionWarnHours: number;
  /** TIDELINE_KEEP_GENERATIONS, in milliseconds. */
  readonly keepGenerationsMs?: number;
  /** The system's daily report; absent: none. */
  readonly report?: Report | null;
  /** The mail settings of reports; absent: nothing is mailed. */
  readonly mail?: MailSettings;
  /** TIDELINE_API_URL; absent: nothing can be proven. */
  readonly apiUrl?: string;
  /** TIDELINE_API_KEY, if the API needs one. */
  readonly apiKey?: string | null;
  /** TIDELINE_SCHEMA_REGISTRY; absent: the registry is in the data directory. */
  readonly schemaRegistry?: string | null;
}

/** The threads and memory that DuckDB may use in this process. */
export interface DuckShare {
  readonly threads: number;
  readonly memoryLimitMb: number;
}

export interface OpenedDeps {
  readonly deps: ActivityDeps;
  readonly failures: FailureTracker;
  /**
   * Ends all waiting for a Redis that does not answer, for good. Activities that waited fail, and another worker does
   * them.
   */
  hurry(): void;
  close(): Promise<void>;
}

const NO_MAIL: MailSettings = { url: "", from: "", to: "" };
const KEEP_GENERATIONS_MS = 7 * 86_400_000;
const REDIS = { kind: "workflow", name: "redis", views: [] } as const;

/** Opens everything that activities use. */
export async function openDeps(options: DepsOptions, duck: DuckShare): Promise<OpenedDeps> {
  const { brokers, dataDir, namespace, definitions, registry, logger, retentionWarnHours } = options;
  const {
    keepGenerationsMs = KEEP_GENERATIONS_MS,
    report = null,
    mail = NO_MAIL,
    apiUrl = "http://127.0.0.1:7070",
    apiKey = null,
  } = options;
  const data = new DataDirectory(dataDir);
  const pool = await DuckPool.open({ ...duck, directories: [dataDir] });
  const log = new LogReader({ brokers, clientId: "tideline-worker" });
  const { redis, failures } = openTrackedRedis(options, REDIS);
  const deadLetters = new DeadLetters(brokers, namespace);
  const generations = new Generations(data);
  const schemas = new Schemas(data, openRegistry(data, options.schemaRegistry ?? null));
  const close = async () => {
    await failures.close();
    redis.disconnect();
    await Promise.all([deadLetters.close(), log.close()]);
    pool.close();
  };
  await generations.register(definitions, "worker").catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const stores = { data, archive: new Archive(data), manifests: new Manifests(data), log, pool, schemas };
  return {
    deps: {
      stores,
      redis,
      deadLetters,
      brokers,
      retentionWarnHours,
      definitions,
      generations,
      keepGenerationsMs,
      report,
      mail,
      namespace,
      apiUrl,
      apiKey,
      metrics: batchMetrics(registry, () => failures.problems()),
      logger,
    },
    failures,
    hurry: () => {
      if (redis.status !== "ready") endRedis(redis);
    },
    close,
  };
}
