import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type Command, Option } from "commander";
import type { Logger } from "pino";
import type { ServingOptions } from "../../serving/main.ts";
import { type Config, loadConfig } from "../setup/config.ts";
import { endWithParent } from "../setup/parent.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";

interface ServeFlags {
  readonly port?: number;
  readonly host?: string;
  readonly rateLimit: number;
  readonly maxStreams: number;
  readonly helper?: boolean;
}

/** The program that this process was started with, so that the helper runs the same code. */
const [, program = ""] = process.argv;

/** Adds `tideline serve`. */
export function registerServe(commands: Command): void {
  commands
    .command("serve")
    .addHelpText("after", "\nExamples:\n  $ tideline serve\n  $ tideline serve --port 8080 --host 0.0.0.0\n")
    .description("run the HTTP API; SIGTERM lets the requests under way finish")
    .addOption(new Option("--port <n>", "where to listen (default: TIDELINE_API_PORT)").argParser(wholeNumberFrom(0)))
    .addOption(new Option("--host <address>", "on which address; 0.0.0.0 for all (default: TIDELINE_HOST)"))
    .addOption(
      new Option("--rate-limit <n>", "requests that one address may send in a minute; 0: no limit")
        .default(60_000)
        .argParser(wholeNumberFrom(0)),
    )
    .addOption(
      new Option("--max-streams <n>", "live streams that may be open at once")
        .default(1_000)
        .argParser(wholeNumberFrom(0)),
    )
    // Internal: the server starts its helper process with this flag.
    .addOption(new Option("--helper").hideHelp())
    .action(async ({ port, host, rateLimit, maxStreams, helper }: ServeFlags) => {
      if (helper === true) return serveAsHelper(maxStreams);
      const { announce, closeOnSignal, roleLogger } = await import("../setup/role.ts");
      const config = loadConfig(process.env);
      const logger = roleLogger("serve", config);
      const leave = await announce("serve", config, logger);
      const serving = await start(config, logger, {
        port: port ?? config.apiPort,
        host: host ?? config.host,
        allowedHosts: config.allowedHosts,
        apiKeys: { home: config.home, isRequired: config.apiKeys === "required" },
        requestsPerMinute: rateLimit,
        maxStreams,
        startHelper: () => fork(program, ["serve", "--helper", "--max-streams", String(maxStreams)]),
      });
      const { startMonitorOf } = await import("../setup/monitor.ts");
      const { definitions, registry } = serving;
      const monitor = await startMonitorOf(config, { role: "serve", definitions, registry, logger });
      closeOnSignal(logger, async () => {
        await Promise.all([serving.close(), monitor.close()]);
        await leave();
      });
      logger.info({ port: serving.port, views: serving.views }, "serving runs");
    });
}

type OwnOptions = Pick<
  ServingOptions,
  | "port"
  | "host"
  | "allowedHosts"
  | "apiKeys"
  | "callerSecret"
  | "requestsPerMinute"
  | "maxStreams"
  | "startHelper"
  | "maxCachedCells"
>;

async function start(config: Config, logger: Logger, own: OwnOptions) {
  const { startServing } = await import("../../serving/main.ts");
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const definitions = await loadDefinitions(config);
  const { redisUrl, kafkaBrokers, home, namespace, schemaRegistry } = config;
  const dataDir = join(home, "data");
  const shared = { redisUrl, kafkaBrokers, dataDir, namespace, schemaRegistry, definitions, logger };
  const serving = await startServing({ ...shared, ...own });
  return { ...serving, definitions, views: [...definitions.views.keys()] };
}

/**
 * Runs the helper process, which computes answers that are too large for the server. The server starts it and sends it
 * requests over a loopback port. It ends when the server asks for that or is gone. Signals of a terminal reach both
 * processes; the server handles them.
 */
async function serveAsHelper(maxStreams: number): Promise<void> {
  const { standBehind } = await import("../setup/priority.ts");
  const { roleLogger } = await import("../setup/role.ts");
  standBehind("helper");
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => {});
  endWithParent();
  const config = loadConfig(process.env);
  const logger = roleLogger("serve-helper", config);
  // The server checks API keys. Only the server may reach this process.
  const secret = randomBytes(32).toString("base64url");
  const serving = await start(config, logger, {
    port: 0,
    host: "127.0.0.1",
    callerSecret: secret,
    requestsPerMinute: 0,
    maxStreams,
    // Smaller than the server's cache: most large queries have a new range each time, so little of the cache is used
    // again.
    maxCachedCells: 250_000,
  });
  process.once("message", () => void serving.close().finally(() => process.exit()));
  process.send?.({ port: serving.port, secret });
}
