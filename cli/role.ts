import { type Logger, pino } from "pino";
import type { Config } from "./config.ts";

/** The logger of a long-running role: one JSON event a line on stdout. */
export function roleLogger(role: string, config: Config): Logger {
  return pino({ level: config.logLevel, base: { role }, timestamp: pino.stdTimeFunctions.isoTime });
}

/** Runs `close` once, on SIGTERM or SIGINT, and ends the process when it is done; a second signal ends it at once. */
export function closeOnSignal(logger: Logger, close: () => Promise<void>): void {
  let closing = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (closing) process.exit(130);
    closing = true;
    logger.info({ signal }, "stopping");
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ error: (error as Error).message }, "could not stop cleanly");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}
