import type { SendAlert, SendOptions, ShownAlert } from "../core/definition/shown-alert.ts";

/**
 * Calls a function of a delivery's file with the alerts of a message. When the signal is aborted, stops waiting for the
 * function, which need not observe the signal. Throws the error of the function, or the signal's reason.
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
    // The function may throw any value.
    throw error instanceof Error ? error : new Error(String(error));
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
