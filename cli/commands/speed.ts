import { join } from "node:path";
import type { Command } from "commander";
import { loadConfig } from "../setup/config.ts";

/** Adds `tideline speed`. */
export function registerSpeed(program: Command): void {
  program
    .command("speed")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tideline speed\n  $ KAFKA_BROKERS=kafka:9092 REDIS_URL=redis://redis:6379 tideline speed\n",
    )
    .description(
      "run the speed layer, rules and deliveries: Kafka to Redis, to alerts, and to whom " +
        "they are for; start it several times to share the partitions",
    )
    .action(runSpeed);
}

async function runSpeed(): Promise<void> {
  const config = loadConfig(process.env);
  const { Registry, collectDefaultMetrics } = await import("prom-client");
  const { startSpeedLayer } = await import("../../speed-layer/main.ts");
  const { startRules } = await import("../../rules/main.ts");
  const { startDeliveries } = await import("../../deliveries/main.ts");
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { startMonitorOf } = await import("../setup/monitor.ts");
  const { startProbe } = await import("../setup/probe.ts");
  const { announce, closeOnSignal, roleLogger } = await import("../setup/role.ts");
  const logger = roleLogger("speed", config);
  const leave = await announce("speed", config, logger);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const definitions = await loadDefinitions(config);
  const { kafkaBrokers: brokers, redisUrl, namespace } = config;
  const options = {
    ...{ brokers, redisUrl, namespace, definitions, registry, logger },
    dataDir: join(config.home, "data"),
    schemaRegistry: config.schemaRegistry,
  };
  const speed = await startSpeedLayer(options);
  const rules = await startRules(options);
  const mail = { url: config.smtpUrl, from: config.reportFrom };
  const deliveries = await startDeliveries({ ...options, mail });
  const monitor = await startMonitorOf(config, { role: "speed", definitions, registry, logger });
  const health = () => {
    const [ofSpeed, ofRules] = [speed.health(), rules.health()];
    const problems = [...ofSpeed.problems, ...ofRules.problems, ...deliveries.problems()];
    return { ...ofSpeed, rules: ofRules.rules, problems };
  };
  const probe = await startProbe({
    host: config.host,
    allowedHosts: config.allowedHosts,
    port: config.speedPort,
    registry,
    health,
  });
  closeOnSignal(logger, async () => {
    await Promise.all([speed.close(), rules.close(), deliveries.close(), monitor.close()]);
    await probe.close();
    await leave();
  });
  logger.info({ port: probe.port, views: [...definitions.views.keys()] }, "speed layer runs");
}
