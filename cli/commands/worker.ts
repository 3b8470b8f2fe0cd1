import { fork } from "node:child_process";
import { join } from "node:path";
import { type Command, Option } from "commander";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { type Config, loadConfig, maskOfSettings } from "../setup/config.ts";
import { endWithParent } from "../setup/parent.ts";

/** The program that this process was started with, so that the background process runs the same code. */
const [, program = ""] = process.argv;

/** Adds `tideline worker`. */
export function registerWorker(program: Command): void {
  program
    .command("worker")
    .addHelpText("after", "\nExamples:\n  $ tideline worker\n  $ TEMPORAL_ADDRESS=temporal:7233 tideline worker\n")
    .description(
      "run the batch layer: a Temporal worker that archives, settles and rebuilds; start several to " +
        "share the work. Long work runs in a second process of low priority",
    )
    .option("--no-schedules", "leave the schedules in Temporal as they are")
    // Internal: a worker starts its background process with this flag.
    .addOption(new Option("--background").hideHelp())
    .action(({ schedules, background }: { schedules: boolean; background?: boolean }) =>
      background === true ? runBackground() : runWorker(schedules),
    );
}

async function runWorker(schedules: boolean): Promise<void> {
  const config = loadConfig(process.env);
  const { Registry, collectDefaultMetrics } = await import("prom-client");
  const { installRuntime, startWorker } = await import("../../activities/worker/worker.ts");
  const { DataDirectory } = await import("../../store/files/files.ts");
  const { Generations } = await import("../../store/definitions/generations.ts");
  const { SEARCH_ATTRIBUTES } = await import("../../workflows/shared/names.ts");
  const { desiredSchedules } = await import("../../workflows/schedules.ts");
  const { standBehind } = await import("../setup/priority.ts");
  const { startMonitorOf } = await import("../setup/monitor.ts");
  const { startProbe } = await import("../setup/probe.ts");
  const { announce, closeOnSignal, roleLogger } = await import("../setup/role.ts");
  standBehind("worker");
  const logger = roleLogger("worker", config);
  const leave = await announce("worker", config, logger);
  installRuntime(logger);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const options = await depsOptions(config, registry, logger);
  const { definitions, report } = options;
  const served = await new Generations(new DataDirectory(options.dataDir)).views();
  // A view whose file is gone is still kept up to date for a while.
  const views = new Set([...definitions.views.keys(), ...served]);
  const worker = await startWorker({
    ...options,
    searchAttributes: Object.values(SEARCH_ATTRIBUTES),
    schedules: schedules ? desiredSchedules(config.namespace, definitions.streams.keys(), views, report?.views) : null,
    settleEveryMs: config.settleEvery,
    startBackground: () => fork(program, ["worker", "--background"], { serialization: "advanced" }),
  });
  const monitor = await startMonitorOf(config, { role: "worker", definitions, registry, logger });
  const probe = await startProbe({
    host: config.host,
    allowedHosts: config.allowedHosts,
    port: config.workerPort,
    registry: { contentType: registry.contentType, metrics: () => worker.metrics() },
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
}

/**
 * Runs the process for a worker's long work. It ends when the worker asks for that, when the worker is gone, or when it
 * fails: then the worker starts another one.
 */
async function runBackground(): Promise<void> {
  let close = async () => process.exit();
  endWithParent();
  process.on("message", (message) => {
    if (message === "close") void close();
  });
  try {
    await workInBackground((stop) => {
      close = stop;
    });
  } catch (error) {
    const message = maskOfSettings(process.env)((error as Error).message);
    process.stderr.write(`the background process of a worker failed: ${message}\n`);
    process.exitCode = 1;
  } finally {
    // Without this the channel to the worker would keep the process alive.
    process.exit();
  }
}

/** Calls `closable` with a function that ends the work in order, once there is work to end. */
async function workInBackground(closable: (close: () => Promise<never>) => void): Promise<void> {
  const config = loadConfig(process.env);
  const { Registry, collectDefaultMetrics } = await import("prom-client");
  const { installRuntime } = await import("../../activities/worker/worker.ts");
  const { startBackgroundWorker } = await import("../../activities/worker/background-worker.ts");
  const { standBehind } = await import("../setup/priority.ts");
  const { announce, closeOnSignal, roleLogger } = await import("../setup/role.ts");
  standBehind("background");
  const logger = roleLogger("worker-background", config);
  const leave = await announce("worker-background", config, logger);
  try {
    installRuntime(logger);
    const registry = new Registry();
    collectDefaultMetrics({ register: registry });
    const worker = await startBackgroundWorker(await depsOptions(config, registry, logger));
    const close = async () => {
      await worker.close();
      await leave();
    };
    closable(async () => {
      await close();
      process.exit();
    });
    closeOnSignal(logger, close);
    process.on("message", (message: { readonly metrics?: number }) => {
      const { metrics } = message;
      if (metrics !== undefined)
        void registry.getMetricsAsJSON().then((families) => process.send?.({ metrics, families }));
    });
    process.send?.("ready");
    await worker.ended;
  } finally {
    await leave();
  }
}

/** Returns the options that both processes of a worker share. */
async function depsOptions(config: Config, registry: Registry, logger: Logger) {
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { taskQueueOf } = await import("../../workflows/shared/names.ts");
  const { loadSystem } = await import("../setup/system.ts");
  const { kafkaBrokers: brokers, redisUrl, temporalAddress, temporalNamespace, namespace } = config;
  return {
    brokers,
    redisUrl,
    temporalAddress,
    temporalNamespace,
    taskQueue: taskQueueOf(namespace),
    dataDir: join(config.home, "data"),
    namespace,
    definitions: await loadDefinitions(config),
    keepGenerationsMs: config.keepGenerations,
    retentionWarnHours: config.retentionWarnHours,
    schemaRegistry: config.schemaRegistry,
    apiUrl: config.apiUrl,
    apiKey: config.apiKey,
    report: (await (await loadSystem(config.system)).report?.()) ?? null,
    mail: { url: config.smtpUrl, from: config.reportFrom, to: config.reportTo },
    registry,
    logger,
  };
}
