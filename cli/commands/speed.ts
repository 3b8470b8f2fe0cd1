import { join } from "node:path";
import type { Command } from "commander";
import { loadConfig } from "../setup/config.ts";

/** Adds `tideline speed`. */
export function registerSpeed(program: Command): void {
  program
    .command("speed")
    .addHelpText("after", "\nExample:\n  $ tideline speed\n")
    .description("run the speed layer: Kafka to Redis; start it several times to share the partitions")
    .action(async () => {
      const config = loadConfig(process.env);
      const { Registry, collectDefaultMetrics } = await import("prom-client");
      const { startSpeedLayer } = await import("../../speed-layer/main.ts");
      const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
      const { startProbe } = await import("../setup/probe.ts");
      const { announce, closeOnSignal, roleLogger } = await import("../setup/role.ts");
      const logger = roleLogger("speed", config);
      const leave = await announce("speed", config, logger);
      const registry = new Registry();
      collectDefaultMetrics({ register: registry });
      const definitions = await loadDefinitions(config);
      const { kafkaBrokers: brokers, redisUrl, namespace } = config;
      const speed = await startSpeedLayer({
        brokers,
        redisUrl,
        namespace,
        dataDir: join(config.home, "data"),
        definitions,
        schemaRegistry: config.schemaRegistry,
        registry,
        logger,
      });
      const probe = await startProbe({
        host: config.host,
        allowedHosts: config.allowedHosts,
        port: config.speedPort,
        registry,
        health: () => speed.health(),
      });
      closeOnSignal(logger, async () => {
        await speed.close();
        await probe.close();
        await leave();
      });
      logger.info({ port: probe.port, views: [...definitions.views.keys()] }, "speed layer runs");
    });
}
