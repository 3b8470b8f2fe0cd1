import { join } from "node:path";
import type { Command } from "commander";
import { loadConfig } from "../setup/config.ts";

/** Adds `tideline worker`. */
export function registerWorker(program: Command): void {
  program
    .command("worker")
    .addHelpText("after", "\nExamples:\n  $ tideline worker\n  $ tideline worker --no-schedules\n")
    .description(
      "run the batch layer: a Temporal worker that archives, refreshes and rebuilds; start several to share the work",
    )
    .option("--no-schedules", "leave the schedules in Temporal as they are")
    .action(async ({ schedules }: { schedules: boolean }) => {
      const config = loadConfig(process.env);
      const { Registry, collectDefaultMetrics } = await import("prom-client");
      const { installRuntime, startWorker } = await import("../../activities/worker/worker.ts");
      const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
      const { DataDirectory } = await import("../../store/files/files.ts");
      const { Generations } = await import("../../store/definitions/generations.ts");
      const { SEARCH_ATTRIBUTES, taskQueueOf } = await import("../../workflows/shared/names.ts");
      const { desiredSchedules } = await import("../../workflows/schedules.ts");
      const { loadSystem } = await import("../setup/system.ts");
      const { startMonitorOf } = await import("../setup/monitor.ts");
      const { startProbe } = await import("../setup/probe.ts");
      const { announce, closeOnSignal, roleLogger } = await import("../setup/role.ts");
      const logger = roleLogger("worker", config);
      const leave = await announce("worker", config, logger);
      installRuntime(logger);
      const registry = new Registry();
      collectDefaultMetrics({ register: registry });
      const definitions = await loadDefinitions(config);
      const { kafkaBrokers: brokers, redisUrl, temporalAddress, temporalNamespace, namespace } = config;
      const dataDir = join(config.home, "data");
      const served = await new Generations(new DataDirectory(dataDir)).views();
      // A view whose file is gone is kept up to date for a while.
      const views = new Set([...definitions.views.keys(), ...served]);
      const report = (await (await loadSystem(config.system)).report?.()) ?? null;
      const worker = await startWorker({
        brokers,
        redisUrl,
        temporalAddress,
        temporalNamespace,
        taskQueue: taskQueueOf(namespace),
        dataDir,
        namespace,
        definitions,
        searchAttributes: Object.values(SEARCH_ATTRIBUTES),
        schedules: schedules ? desiredSchedules(namespace, definitions.streams.keys(), views, report?.views) : null,
        settleEveryMs: config.settleEvery,
        keepGenerationsMs: config.keepGenerations,
        retentionWarnHours: config.retentionWarnHours,
        schemaRegistry: config.schemaRegistry,
        apiUrl: config.apiUrl,
        apiKey: config.apiKey,
        report,
        mail: { url: config.smtpUrl, from: config.reportFrom, to: config.reportTo },
        registry,
        logger,
      });
      const monitor = await startMonitorOf(config, { role: "worker", definitions, registry, logger });
      const probe = await startProbe({
        host: config.host,
        allowedHosts: config.allowedHosts,
        port: config.workerPort,
        registry,
        health: () => worker.health(),
      });
      closeOnSignal(logger, async () => {
        await Promise.all([worker.close(), monitor.close()]);
        await probe.close();
        await leave();
      });
      logger.info({ port: probe.port, views: [...definitions.views.keys()] }, "worker is ready");
      await worker.ended.catch(async (error: unknown) => {
        await monitor.close();
        await probe.close();
        throw error;
      });
    });
}
