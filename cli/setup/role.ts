import { join } from "node:path";
import { type DestinationStream, type Logger, pino } from "pino";
import { maskedValue } from "../../core/secrets.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { announceRole } from "../../store/files/running-roles.ts";
import { type Config, maskOfSettings } from "./config.ts";

/**
 * Returns the logger of a long-running role: one JSON event a line on stdout, or on `out`. Secrets of the settings are
 * masked everywhere.
 */
export function roleLogger(role: string, { logLevel }: Pick<Config, "logLevel">, out?: DestinationStream): Logger {
  const mask = maskOfSettings(process.env);
  const options = {
    level: logLevel,
    base: { role },
    timestamp: pino.stdTimeFunctions.isoTime,
    // The formatter has already turned errors into plain objects.
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

/**
 * Notes in the data directory that a role runs on it, so that `tideline restore` refuses to run. Returns a function
 * that removes the note. If the data directory is replaced anyway, the process ends at once, because its knowledge of
 * the directory is no longer right.
 */
export async function announce(role: string, config: Config, logger: Logger): Promise<() => Promise<void>> {
  const data = new DataDirectory(join(config.home, "data"));
  const { leave } = await announceRole(data, role, () => {
    const hint = "This role ends, because what it knows of the directory is not right any more. Start it again.";
    logger.fatal({ code: "DIRECTORY_IN_USE", hint }, `${data.root} was replaced while ${role} ran`);
    process.exit(1);
  });
  return leave;
}

/**
 * Calls `close` once, on SIGTERM or SIGINT, and ends the process when that is done. A second signal ends it at once.
 */
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
