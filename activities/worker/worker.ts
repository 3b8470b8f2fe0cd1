import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import type { MailSettings } from "../../batch-layer/report/deliver.ts";
import type { Report } from "../../batch-layer/report/report.ts";
import type { Failure } from "../../core/failures.ts";
import { Archive } from "../../store/archive/archive.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { HOLD } from "../../store/backup/back-up.ts";
import { DeadLetters } from "../../store/dead-letters/letter-writer.ts";
import { type Definitions, viewsOfStream } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { sweepAbandoned } from "../../store/files/scratch-folder.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { FailureTracker } from "../../store/redis/failure-tracker.ts";
import { Failures } from "../../store/redis/failures.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { SettleRequests } from "../../store/redis/settle-requests.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { createActivities } from "../activities.ts";
import { batchMetrics } from "../metrics.ts";
import { FailingProofs } from "./failing-proofs.ts";
import { failingWork } from "./failing-work.ts";
import { Settlements } from "./settlements.ts";
import { lookAfterTemporal, prepareTemporal, type TemporalSetup, unreachable } from "./temporal-setup.ts";
import { workflowCode } from "./workflow-bundle.ts";

export interface WorkerOptions extends TemporalSetup {
  readonly brokers: string;
  readonly redisUrl: string;
  readonly dataDir: string;
  /** TIDELINE_NAMESPACE. */
  readonly namespace: string;
  readonly definitions: Definitions;
  /** TIDELINE_RETENTION_WARN_HOURS. */
  readonly retentionWarnHours: number;
  /** TIDELINE_SETTLE_EVERY, in milliseconds. */
  readonly settleEveryMs?: number;
  /** TIDELINE_KEEP_GENERATIONS, in milliseconds. */
  readonly keepGenerationsMs?: number;
  /** The system's daily report; none by default. */
  readonly report?: Report | null;
  /** Where reports are mailed; nowhere by default. */
  readonly mail?: MailSettings;
  /** TIDELINE_API_URL; without one nothing can be proven. */
  readonly apiUrl?: string;
  /** TIDELINE_API_KEY, where the API needs one. */
  readonly apiKey?: string | null;
  /** TIDELINE_SCHEMA_REGISTRY; without one the registry is in the data directory. */
  readonly schemaRegistry?: string | null;
  readonly registry: Registry;
}

export interface BatchWorker {
  /** `problems`: what fails again and again, of what this worker has met or found in Temporal. */
  health(): { readonly ready: boolean; readonly state: string; readonly problems: readonly Failure[] };
  /** Resolves when the worker has ended, rejects when it failed. */
  readonly ended: Promise<void>;
  /**
   * Takes no more work, lets activities finish for a while, then cancels them: another worker goes on where they were.
   */
  close(): Promise<void>;
}

/** Each archives or aggregates: more than two would only compete for the same cores. */
const ACTIVITIES_AT_ONCE = 4;
const DUCK = { threads: 2, memoryLimitMb: 2_048 };

/** A worker for all workflows and activities. Throws NOT_READY when Temporal does not answer. */
export async function startWorker(options: WorkerOptions): Promise<BatchWorker> {
  const { temporalAddress: address, temporalNamespace, taskQueue, schedules, logger } = options;
  const connection = await NativeConnection.connect({ address }).catch(unreachable(address));
  const opened = await openDeps(options);
  try {
    await prepareTemporal(options);
    const worker = await Worker.create({
      connection,
      namespace: temporalNamespace,
      taskQueue,
      ...(await workflowCode()),
      activities: createActivities(opened.deps),
      shutdownGraceTime: "15 seconds",
      shutdownForceTime: "25 seconds",
      maxConcurrentActivityTaskExecutions: ACTIVITIES_AT_ONCE,
    });
    const { failures } = opened;
    failures.start();
    const proofs = new FailingProofs();
    const leaveTemporal = lookAfterTemporal(options, {
      look: async (client) => {
        const place = workPlace(options);
        failures.looked([...(await failingWork(client, place)), ...(await proofs.look(client, place))]);
      },
      ended: (error) => (error === null ? failures.succeeded(TEMPORAL) : failures.failed(TEMPORAL, error)),
    });
    const { deps } = opened;
    const settlements = new Settlements({
      temporalAddress: address,
      temporalNamespace,
      namespace: options.namespace,
      definitions: options.definitions,
      generations: deps.generations,
      manifests: deps.stores.manifests,
      log: deps.stores.log,
      requests: new SettleRequests(deps.redis, options.namespace),
      automatic: schedules?.some(({ input }) => input.kind === "settle") ?? false,
      everyMs: options.settleEveryMs ?? SETTLE_EVERY_MS,
      failures,
      logger,
    });
    const ended = worker.run().finally(async () => {
      leaveTemporal();
      await settlements.close();
      await connection.close();
      await opened.close();
    });
    ended.catch((error: unknown) => logger.error({ error: (error as Error).message }, "worker failed"));
    logger.info({ taskQueue, schedules: schedules?.length ?? 0 }, "worker runs");
    return {
      health: () => ({
        ready: worker.getState() === "RUNNING",
        state: worker.getState(),
        problems: failures.problems(),
      }),
      ended,
      close: async () => {
        if (worker.getState() === "RUNNING") worker.shutdown();
        await ended.catch(() => {}); // logged above, and given to whoever holds `ended`
      },
    };
  } catch (error) {
    await connection.close();
    await opened.close();
    throw error;
  }
}

/**
 * Sends what Temporal's SDK logs to `logger`, and leaves signals to the caller. Once a process, before its first
 * worker.
 */
export function installRuntime(logger: Logger): void {
  const levels = { TRACE: "trace", DEBUG: "debug", INFO: "debug", WARN: "warn", ERROR: "error" } as const;
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger("WARN", ({ level, message, meta }) =>
      logger[levels[level]]({ workflowId: meta?.workflowId, activity: meta?.activityType }, message),
    ),
  });
}

/** In the background: a large data directory takes a while to look through. */
function sweepUnfinished(data: DataDirectory, logger: Logger): void {
  const nowMs = Date.now();
  Promise.all([data.sweepUnfinished(nowMs), sweepAbandoned(data.root, HOLD, nowMs)]).then(
    ([files, holds]) => {
      if (files + holds.length > 0)
        logger.info({ files, backups: holds.length }, "deleted files that killed processes left");
    },
    (error: unknown) => logger.warn({ error: (error as Error).message }, "cannot look for files of killed processes"),
  );
}

/** What a worker does beside its runs, as its failures are called. */
const TEMPORAL = { kind: "workflow", name: "temporal", views: [] } as const;
const REDIS = { kind: "workflow", name: "redis", views: [] } as const;

function workPlace({ namespace, taskQueue, definitions }: WorkerOptions) {
  return { namespace, taskQueue, viewsOf: (stream: string) => viewsOfStream(definitions, stream) };
}

const NO_MAIL: MailSettings = { url: "", from: "", to: "" };
const SETTLE_EVERY_MS = 45_000;
const KEEP_GENERATIONS_MS = 7 * 86_400_000;

async function openDeps(options: WorkerOptions) {
  const { brokers, redisUrl, dataDir, namespace, definitions, registry, logger, retentionWarnHours } = options;
  const {
    keepGenerationsMs = KEEP_GENERATIONS_MS,
    report = null,
    mail = NO_MAIL,
    apiUrl = "http://127.0.0.1:7070",
    apiKey = null,
  } = options;
  const data = new DataDirectory(dataDir);
  sweepUnfinished(data, logger);
  const pool = await DuckPool.open({ ...DUCK, directories: [dataDir] });
  const log = new LogReader({ brokers, clientId: "tideline-worker" });
  const redis = openRedis(redisUrl, (error) => {
    failures.failed(REDIS, error);
    logger.warn({ error: error.message }, "redis");
  });
  const failures = new FailureTracker(new Failures(redis, namespace));
  redis.on("ready", () => failures.succeeded(REDIS));
  const deadLetters = new DeadLetters(brokers, namespace);
  const generations = new Generations(data);
  await generations.register(definitions, "worker");
  const schemas = new Schemas(data, openRegistry(data, options.schemaRegistry ?? null));
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
    close: async () => {
      await failures.close();
      redis.disconnect();
      await Promise.all([deadLetters.close(), log.close()]);
      pool.close();
    },
  };
}
