import type { ChildProcess } from "node:child_process";
import { DefaultLogger, Runtime, Worker } from "@temporalio/worker";
import type { Logger } from "pino";
import { HOLD } from "../../store/backup/back-up.ts";
import { viewsOfStream } from "../../store/definitions/definitions.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { sweepAbandoned } from "../../store/files/scratch-folder.ts";
import { SettleRequests } from "../../store/redis/settle-requests.ts";
import { createActivities } from "../activities.ts";
import { BackgroundProcess } from "./background-process.ts";
import { connectedDeps } from "./connected-deps.ts";
import { FailingProofs } from "./failing-proofs.ts";
import { failingWork } from "./failing-work.ts";
import type { DepsOptions, OpenedDeps } from "./open-deps.ts";
import { type RunningWorker, runUntilClosed, SHUTDOWN } from "./running-worker.ts";
import { Settlements } from "./settlements.ts";
import { lookAfterTemporal, prepareTemporal, type TemporalSetup } from "./temporal-setup.ts";
import { workflowCode } from "./workflow-bundle.ts";

export interface WorkerOptions extends TemporalSetup, DepsOptions {
  /** TIDELINE_SETTLE_EVERY, in milliseconds. */
  readonly settleEveryMs?: number;
  /** Starts the process for long work (`BackgroundProcess`); absent: another process does that work. */
  readonly startBackground?: () => ChildProcess;
}

export interface BatchWorker extends RunningWorker {
  /** The metrics of this process and of its background process. */
  metrics(): Promise<string>;
}

/**
 * The most activities of one worker at the same time. Each archives or aggregates, and uses up to two threads of
 * DuckDB.
 */
const ACTIVITIES_AT_ONCE = 4;
const DUCK = { threads: 2, memoryLimitMb: 1_536 };

/**
 * Starts a worker for all workflows, and for the activities that are not in the background. Throws NOT_READY when
 * Temporal does not answer.
 */
export async function startWorker(options: WorkerOptions): Promise<BatchWorker> {
  const { temporalNamespace, taskQueue, schedules, startBackground, logger } = options;
  const { connection, opened } = await connectedDeps(options, DUCK);
  const { deps, failures } = opened;
  sweepUnfinished(deps.stores.data, logger);
  try {
    await prepareTemporal(options);
    const worker = await Worker.create({
      ...SHUTDOWN,
      connection,
      namespace: temporalNamespace,
      taskQueue,
      ...(await workflowCode()),
      activities: createActivities(deps),
      maxConcurrentActivityTaskExecutions: ACTIVITIES_AT_ONCE,
    });
    failures.start();
    const leaveTemporal = watchTemporal(options, failures);
    const settlements = settlementsOf(options, opened);
    const background =
      startBackground === undefined ? null : new BackgroundProcess({ start: startBackground, failures, logger });
    const release = async () => {
      leaveTemporal();
      await Promise.all([settlements.close(), background?.close()]);
      await connection.close();
      await opened.close();
    };
    const running = runUntilClosed(worker, {
      problems: () => failures.problems(),
      hurry: opened.hurry,
      release,
      logger,
    });
    logger.info({ taskQueue, schedules: schedules?.length ?? 0 }, "worker runs");
    return {
      ...running,
      close: async () => {
        // Both close at the same time, because each may take a while.
        await Promise.all([running.close(), background?.close()]);
      },
      metrics: () => background?.metrics(options.registry) ?? options.registry.metrics(),
    };
  } catch (error) {
    await connection.close();
    await opened.close();
    throw error;
  }
}

/** Looks from time to time for work that fails in Temporal. Returns a function that ends that. */
function watchTemporal(options: WorkerOptions, failures: OpenedDeps["failures"]): () => void {
  const proofs = new FailingProofs();
  return lookAfterTemporal(options, {
    check: async (client) => {
      const place = workPlace(options);
      failures.takeOver([...(await failingWork(client, place)), ...(await proofs.find(client, place))]);
    },
    ended: (error) => (error === null ? failures.succeeded(TEMPORAL) : failures.failed(TEMPORAL, error)),
  });
}

function settlementsOf(options: WorkerOptions, { deps, failures }: OpenedDeps): Settlements {
  const { temporalAddress, temporalNamespace, namespace, definitions, schedules, settleEveryMs, logger } = options;
  return new Settlements({
    temporalAddress,
    temporalNamespace,
    namespace,
    definitions,
    generations: deps.generations,
    manifests: deps.stores.manifests,
    log: deps.stores.log,
    requests: new SettleRequests(deps.redis, namespace),
    automatic: schedules?.some(({ input }) => input.kind === "settle") ?? false,
    everyMs: settleEveryMs ?? SETTLE_EVERY_MS,
    failures,
    logger,
  });
}

/** The SDK's warning about the background process, which has no workflows on purpose. */
const NO_WORKFLOWS = "No workflows registered, not polling for workflow tasks";

/**
 * Sends the log of Temporal's SDK to `logger`, and leaves signals to the caller. Call this once a process, before its
 * first worker.
 */
export function installRuntime(logger: Logger): void {
  const levels = { TRACE: "trace", DEBUG: "debug", INFO: "debug", WARN: "warn", ERROR: "error" } as const;
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger("WARN", ({ level, message, meta }) =>
      logger[message === NO_WORKFLOWS ? "debug" : levels[level]](
        { workflowId: meta?.workflowId, activity: meta?.activityType },
        message,
      ),
    ),
  });
}

/** Runs in the background, because a large data directory takes a while to search. */
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

/** The name under which failures of a worker's work beside its runs are reported. */
const TEMPORAL = { kind: "workflow", name: "temporal", views: [] } as const;
const SETTLE_EVERY_MS = 45_000;

function workPlace({ namespace, taskQueue, definitions }: WorkerOptions) {
  return { namespace, taskQueue, viewsOf: (stream: string) => viewsOfStream(definitions, stream) };
}
