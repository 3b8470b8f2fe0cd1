import { setTimeout as delay } from "node:timers/promises";

/** The options of a pause: what ends it early, and whether it keeps the process alive. */
export interface PauseOptions {
  readonly signal: AbortSignal;
  /** False: the process may end before the pause. */
  readonly ref?: boolean;
}

/** Waits. Ends early, and without an error, when the signal is aborted. */
export async function pause(durationMs: number, options: PauseOptions): Promise<void> {
  await delay(durationMs, undefined, options).catch(() => undefined);
}
