import type { Worker } from "@temporalio/worker";
import type { Logger } from "pino";
import type { Failure } from "../../core/failures.ts";

export interface RunningWorker {
  /** `problems`: what fails again and again, of what this worker has met or found in Temporal. */
  health(): { readonly ready: boolean; readonly state: string; readonly problems: readonly Failure[] };
  /** Resolves when the worker has ended, rejects when it failed. */
  readonly ended: Promise<void>;
  /**
   * Takes no more work, lets activities finish for a while, then cancels them: another worker continues where they
   * were.
   */
  close(): Promise<void>;
}

/** How long activities may continue after the worker was told to close, and when they are given up. */
export const SHUTDOWN = { shutdownGraceTime: "15 seconds", shutdownForceTime: "25 seconds" } as const;

/** After this long, closing takes long. */
const LONG_MS = 5_000;

interface RunOptions {
  readonly problems: () => Failure[];
  /** Called again and again when closing takes long: ends what waits for a server that is away. */
  readonly hurry: () => void;
  /** Lets go of what the worker works with; called when it has ended. */
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
