import { Worker } from "@temporalio/worker";
import { backgroundQueueOf } from "../../workflows/shared/names.ts";
import { createBackgroundActivities } from "../activities.ts";
import { connectedDeps } from "./connected-deps.ts";
import type { DepsOptions } from "./open-deps.ts";
import { type RunningWorker, runUntilClosed, SHUTDOWN } from "./running-worker.ts";
import type { TemporalSetup } from "./temporal-setup.ts";

export type BackgroundOptions = DepsOptions &
  Pick<TemporalSetup, "temporalAddress" | "temporalNamespace"> & {
    /** The queue of the worker that this one belongs to. */
    readonly taskQueue: string;
  };

/** A proof waits for the API most of its time, so two other activities can run beside it. */
const ACTIVITIES_AT_ONCE = 3;
const DUCK = { threads: 2, memoryLimitMb: 2_048 };

/**
 * Starts a worker for the long activities alone: compaction, backfill, rebuild, first versions, proofs and reports.
 * Workflows put them on a queue of their own (`inBackground`). The worker is meant to run in a process of low priority.
 * Throws NOT_READY when Temporal does not answer.
 */
export async function startBackgroundWorker(options: BackgroundOptions): Promise<RunningWorker> {
  const { temporalNamespace: namespace, logger } = options;
  const { connection, opened } = await connectedDeps(options, DUCK);
  const release = async () => {
    await connection.close();
    await opened.close();
  };
  try {
    const worker = await Worker.create({
      ...SHUTDOWN,
      connection,
      namespace,
      taskQueue: backgroundQueueOf(options.taskQueue),
      activities: createBackgroundActivities(opened.deps),
      maxConcurrentActivityTaskExecutions: ACTIVITIES_AT_ONCE,
    });
    opened.failures.start();
    return runUntilClosed(worker, {
      problems: () => opened.failures.problems(),
      hurry: opened.hurry,
      release,
      logger,
    });
  } catch (error) {
    await release();
    throw error;
  }
}
