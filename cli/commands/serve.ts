import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { loadConfig } from "../config.ts";

interface ServeFlags {
  readonly port?: number;
  readonly host?: string;
  readonly rateLimit: number;
  readonly maxStreams: number;
}

/** Adds `tideline serve`. */
export function registerServe(program: Command): void {
  program
    .command("serve")
    .addHelpText("after", "\nExamples:\n  $ tideline serve\n  $ tideline serve --port 8080 --host 0.0.0.0\n")
    .description("run the HTTP API; SIGTERM lets the requests under way finish")
    .addOption(new Option("--port <n>", "where to listen (default: TIDELINE_API_PORT)").argParser(wholeNumber))
    .addOption(new Option("--host <address>", "on which address; 0.0.0.0 for all (default: TIDELINE_HOST)"))
    .addOption(
      new Option("--rate-limit <n>", "requests that one address may send in a minute; 0: no limit")
        .default(60_000)
        .argParser(wholeNumber),
    )
    .addOption(
      new Option("--max-streams <n>", "live streams that may be open at once").default(1_000).argParser(wholeNumber),
    )
    .action(async ({ port, host, rateLimit, maxStreams }: ServeFlags) => {
      const config = loadConfig(process.env);
      const { startServing } = await import("../../serving/main.ts");
      const { loadDefinitions } = await import("../../store/definitions.ts");
      const { announce, closeOnSignal, roleLogger } = await import("../role.ts");
      const logger = roleLogger("serve", config);
      const leave = await announce("serve", config, logger);
      const definitions = await loadDefinitions(config);
      const serving = await startServing({
        redisUrl: config.redisUrl,
        kafkaBrokers: config.kafkaBrokers,
        dataDir: join(config.home, "data"),
        namespace: config.namespace,
        definitions,
        schemaRegistry: config.schemaRegistry,
        port: port ?? config.apiPort,
        host: host ?? config.host,
        allowedHosts: config.allowedHosts,
        logger,
        requestsPerMinute: rateLimit,
        maxStreams,
      });
      closeOnSignal(logger, async () => {
        await serving.close();
        await leave();
      });
      logger.info({ port: serving.port, views: [...definitions.views.keys()] }, "serving runs");
    });
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("It must be a whole number from 0.");
}
