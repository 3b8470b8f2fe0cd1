import type { Worker } from "@temporalio/worker";
import type { Logger } from "pino";
import type { Failure } from "../../core/failures.ts";

export interface RunningWorker {
  /** `problems`: what fails again and again in this worker or in Temporal. */
  health(): { readonly ready: boolean; readonly state: string; readonly problems: readonly Failure[] };
  /** Resolves when the worker has ended; rejects if it failed. */
  readonly ended: Promise<void>;
  /** Takes no more work, lets activities finish for a while, then cancels them. Another worker continues them. */
  close(): Promise<void>;
}

/** How long activities may continue after the worker was told to close, and when they are cancelled. */
export const SHUTDOWN = { shutdownGraceTime: "15 seconds", shutdownForceTime: "25 seconds" } as const;

/** Closing counts as slow after this time. */
const LONG_MS = 5_000;

interface RunOptions {
  readonly problems: () => Failure[];
  /** Called again and again while closing is slow: ends waiting for a server that does not answer. */
  readonly hurry: () => void;
  /** Closes what the worker uses; called when it has ended. */
  readonly release: () => Promise<void>;
  readonly logger: Logger;
}

/** Runs a worker until it is closed or fails. */
export function runUntilClosed(worker: Worker, { problems, hurry, release, logger }: RunOptions): RunningWorker {
  const ended = worker.run().finally(release);
  ended.catch((error: unknown) => logger.error({ error: (error as Error).message }, "worker failed"));
  return {
    health: () => ({ ready: worker.getState() === "RUNNING", state: worker.getState(), problems: problems() }),
    ended,
    close: async () => {
      if (worker.getState() === "RUNNING") worker.shutdown();
      const hurrying = setInterval(hurry, LONG_MS);
      await ended.catch(() => {}); // logged above, and given to the caller that awaits `ended`
      clearInterval(hurrying);
    },
  };
}
