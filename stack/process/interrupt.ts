/** The requests to stop from the person at the terminal, or from the system. */
export interface Interrupts {
  /** Aborted by the first Ctrl+C, SIGTERM or closed terminal: stop in order. */
  readonly stop: AbortSignal;
  /** Aborted by the second: stop at once. */
  readonly force: AbortSignal;
  /** Stops listening, and lets the process end. */
  close(): void;
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** `npm start` passes Ctrl+C on to a process that has already received it from the terminal: one press, two signals. */
const samePressMs = 500;

export function listenForInterrupts(): Interrupts {
  const stop = new AbortController();
  const force = new AbortController();
  let firstAtMs = 0;
  const onSignal = () => {
    if (!stop.signal.aborted) {
      firstAtMs = performance.now();
      stop.abort();
    } else if (performance.now() - firstAtMs > samePressMs) {
      force.abort();
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
  const keepAlive = setInterval(() => {}, 60_000); // listening for signals alone does not keep Node running
  return {
    stop: stop.signal,
    force: force.signal,
    close: () => {
      clearInterval(keepAlive);
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
