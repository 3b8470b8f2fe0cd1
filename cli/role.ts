import { type DestinationStream, type Logger, pino } from "pino";
import { maskedValue } from "../core/secrets.ts";
import { type Config, maskOfSettings } from "./config.ts";

/** The logger of a long-running role: one JSON event a line on stdout, or on `out`. Secrets of the settings are masked, whatever is logged. */
export function roleLogger(role: string, { logLevel }: Pick<Config, "logLevel">, out?: DestinationStream): Logger {
  const mask = maskOfSettings(process.env);
  const options = {
    level: logLevel,
    base: { role },
    timestamp: pino.stdTimeFunctions.isoTime,
    // The formatter has made plain objects of errors already.
    serializers: { err: (error: unknown) => error },
    formatters: { log: (values: object) => maskedValue(values, mask) as Record<string, unknown> },
    hooks: {
      logMethod(this: Logger, inputs: Parameters<pino.LogFn>, method: pino.LogFn) {
        const masked = inputs.map((input) => (typeof input === "string" ? mask(input) : input));
        return method.apply(this, masked as Parameters<pino.LogFn>);
      },
    },
  };
  return out === undefined ? pino(options) : pino(options, out);
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
