import type { SendAlert, SendOptions, ShownAlert } from "../core/definition/shown-alert.ts";

/**
 * Calls a function of a delivery's file with the alerts of a message. It is not waited for once the signal is aborted,
 * whether it looks at it or not. Throws what the function throws, and the signal's reason.
 */
export async function callOwn(
  send: SendAlert,
  alerts: readonly [ShownAlert, ...ShownAlert[]],
  { id, signal }: Omit<SendOptions, "alerts">,
): Promise<void> {
  signal.throwIfAborted();
  let stop = (): void => undefined;
  const ended = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    const call = (async () => send(alerts[0], { signal, id, alerts }))();
    await Promise.race([call, ended]);
  } catch (error) {
    // Anything may be thrown.
    throw error instanceof Error ? error : new Error(String(error));
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
