import type { ProcessHandle } from "./local-process.ts";

/**
 * Stops processes one after the other, the last started first, with a line for each. When `force` is aborted, stops all
 * at once.
 */
export async function stopInOrder(
  started: readonly ProcessHandle[],
  say: (line: string) => void,
  force: AbortSignal,
): Promise<void> {
  const killAll = () => {
    say("ending everything at once");
    for (const handle of started) void handle.kill("SIGKILL");
  };
  if (force.aborted) killAll();
  else force.addEventListener("abort", killAll, { once: true });
  for (const handle of started.toReversed()) {
    if (handle.pid !== undefined) say(`stopping ${handle.name}`);
    await handle.stop();
  }
  force.removeEventListener("abort", killAll);
}
