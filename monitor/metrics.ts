import { Counter, Gauge, type Registry } from "prom-client";

/** Every metric of the monitor. */
export interface MonitorMetrics {
  readonly messages: Counter<"delivery" | "outcome">;
  readonly failedChecks: Counter<"part">;
}

/**
 * Registers the metrics. `watches` and `open` are called at every scrape: they return whether this process watches, and
 * its open alerts by severity.
 */
export function monitorMetrics(
  registry: Registry,
  watches: () => boolean,
  open: () => ReadonlyMap<string, number>,
): MonitorMetrics {
  const registers = [registry];
  new Gauge({
    name: "tideline_monitor_watches",
    help: "1 in the one process that watches the installation and sends Tideline's own alerts",
    registers,
    collect() {
      this.set(watches() ? 1 : 0);
    },
  });
  new Gauge({
    name: "tideline_own_alerts_open",
    help: "Tideline's own alerts whose problem lasts, by severity; of the process that watches",
    labelNames: ["severity"],
    registers,
    collect() {
      this.reset();
      for (const [severity, count] of open()) this.set({ severity }, count);
    },
  });
  return {
    messages: new Counter({
      name: "tideline_own_alert_messages_total",
      help: "Messages of Tideline's own alerts that a delivery has handed over, could not hand over, or left out",
      labelNames: ["delivery", "outcome"],
      registers,
    }),
    failedChecks: new Counter({
      name: "tideline_monitor_failed_looks_total",
      help: "Checks of which a part failed, so that what it would say is not known, by part",
      labelNames: ["part"],
      registers,
    }),
  };
}
