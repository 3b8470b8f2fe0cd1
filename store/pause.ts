import { setTimeout as delay } from "node:timers/promises";

/** How a pause may end early, and whether it keeps the process alive. */
export interface PauseOptions {
  readonly signal: AbortSignal;
  /** False: the process may end before. */
  readonly ref?: boolean;
}

/** Waits. It ends early, and without an error, when the signal is aborted. */
export async function pause(durationMs: number, options: PauseOptions): Promise<void> {
  await delay(durationMs, undefined, options).catch(() => undefined);
}
