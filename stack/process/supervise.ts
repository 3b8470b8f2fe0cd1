import { ExponentialBackoff, handleAll, retry } from "cockatiel";
import type { ProcessHandle } from "./local-process.ts";

export interface SupervisorOptions {
  /** Says one line to the person at the console. */
  say(line: string): void;
  /** Aborted before the process is stopped on purpose: from then on it is left alone. */
  readonly signal: AbortSignal;
  readonly firstDelayMs?: number;
  /** A process that ran this long has recovered: the next time the delays begin small again. */
  readonly recoveredAfterMs?: number;
}

const maxDelayMs = 30_000;

/** Starts the process if it does not run, and waits until it ends; rejects when that was soon and not wanted. */
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

/** Starts a running process again whenever it ends, with growing delays. Resolves after `signal`. */
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
