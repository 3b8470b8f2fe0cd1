import { ExponentialBackoff, handleAll, retry } from "cockatiel";
import type { ProcessHandle } from "./local-process.ts";

export interface SupervisorOptions {
  /** Prints a line for the person at the console. */
  say(line: string): void;
  /** Aborted before the process is stopped on purpose. It is not started again after that. */
  readonly signal: AbortSignal;
  readonly firstDelayMs?: number;
  /** A process that ran this long has recovered: the next delays begin small again. */
  readonly recoveredAfterMs?: number;
}

const maxDelayMs = 30_000;

/** Starts the process if it is not running, and waits until it ends. Rejects if it ended soon and was not asked to. */
async function runOnce(handle: ProcessHandle, { say, signal, recoveredAfterMs = 60_000 }: SupervisorOptions) {
  if (handle.pid === undefined) {
    await handle.start({ report: () => {}, signal });
    say(`${handle.name} runs again`);
  }
  const since = performance.now();
  const { how } = await handle.ended();
  if (signal.aborted) return;
  if (performance.now() - since < recoveredAfterMs) throw new Error(`ended unexpectedly (${how})`);
  say(`${handle.name} ended unexpectedly (${how}); starting it again; its log: ${handle.logFile}`);
}

/** Starts a process again whenever it ends, with growing delays. Resolves after `signal` is aborted. */
export async function supervise(handle: ProcessHandle, options: SupervisorOptions): Promise<void> {
  const { say, signal, firstDelayMs = 500 } = options;
  const backoff = new ExponentialBackoff({ initialDelay: firstDelayMs, maxDelay: maxDelayMs });
  const policy = retry(handleAll, { maxAttempts: Number.POSITIVE_INFINITY, backoff }).dangerouslyUnref();
  policy.onRetry((reason) => {
    const [what] = "error" in reason ? reason.error.message.split("\n") : [];
    const seconds = (reason.delay / 1000).toFixed(1);
    say(`${handle.name}: ${what ?? "ended"}; starting it again in ${seconds} s; its log: ${handle.logFile}`);
  });
  while (!signal.aborted) {
    await policy
      .execute(() => (signal.aborted ? Promise.resolve() : runOnce(handle, options)), signal)
      .catch((error) => {
        if (!signal.aborted) throw error;
      });
  }
}
