import { Counter, Gauge, type Registry } from "prom-client";

/** Every metric of the deliveries. */
export interface DeliveryMetrics {
  readonly alerts: Counter<"delivery" | "outcome">;
}

/**
 * Registers the metrics. `broken` is called at every scrape. It returns each delivery, and whether it waits because its
 * receiver fails too often.
 */
export function deliveryMetrics(registry: Registry, broken: () => ReadonlyMap<string, boolean>): DeliveryMetrics {
  const registers = [registry];
  new Gauge({
    name: "tideline_delivery_waits",
    help: "1 while a delivery tries nothing, because half of its last ten calls failed",
    labelNames: ["delivery"],
    registers,
    collect() {
      for (const [delivery, waits] of broken()) this.set({ delivery }, waits ? 1 : 0);
    },
  });
  return {
    alerts: new Counter({
      name: "tideline_deliveries_total",
      help:
        "Alerts that a delivery has handed over, could not hand over, or left " +
        "out because they are silenced or acknowledged",
      labelNames: ["delivery", "outcome"],
      registers,
    }),
  };
}
