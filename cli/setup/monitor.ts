import { join } from "node:path";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import type { RunningMonitor } from "../../monitor/main.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import type { Config } from "./config.ts";

export interface MonitoringRole {
  /** `speed`, `worker` or `serve`. */
  readonly role: string;
  readonly definitions: Definitions;
  readonly registry: Registry;
  readonly logger: Logger;
}

/** Starts the monitor of a role. */
export async function startMonitorOf(config: Config, role: MonitoringRole): Promise<RunningMonitor> {
  const { startMonitor } = await import("../../monitor/main.ts");
  const { kafkaBrokers: brokers, redisUrl, namespace, retentionWarnHours, alertsTo } = config;
  const { role: name, definitions, registry, logger } = role;
  if (alertsTo !== "" && config.smtpUrl === "")
    logger.warn("own alerts are not mailed: TIDELINE_ALERTS_TO is set, and TIDELINE_SMTP_URL is not");
  return startMonitor({
    ...{ brokers, redisUrl, namespace, retentionWarnHours, alertsTo, name, definitions, registry, logger },
    dataDir: join(config.home, "data"),
    limitsOf: (stream) => ({ warn: limitOf(config.lagWarn, stream), page: limitOf(config.lagPage, stream) }),
    mail: { url: config.smtpUrl, from: config.reportFrom },
  });
}

/** Returns the limit of a stream from a setting such as `1000`, `orders=5000`: its own limit, or else the first. */
function limitOf([byDefault = "0", ...others]: readonly string[], stream: string): number {
  const own = others.map((text) => text.split("=")).find(([name]) => name === stream);
  return Number(own?.[1] ?? byDefault);
}
