import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Every metric of the rules. */
export interface RuleMetrics {
  readonly alerts: Counter<"rule">;
  readonly lag: Gauge<"rule">;
  readonly stopped: Gauge<"rule" | "code">;
  readonly seconds: Histogram<"stream">;
}

export function ruleMetrics(registry: Registry): RuleMetrics {
  const registers = [registry];
  return {
    alerts: new Counter({
      name: "tideline_rules_alerts_total",
      help: "Alerts that a rule has opened",
      labelNames: ["rule"],
      registers,
    }),
    lag: new Gauge({
      name: "tideline_rules_lag_offsets",
      help: "Last stable offsets less the next offsets that a rule reads, of the partitions of this process",
      labelNames: ["rule"],
      registers,
    }),
    stopped: new Gauge({
      name: "tideline_rule_stopped",
      help: "1 while a rule is stopped by a named error",
      labelNames: ["rule", "code"],
      registers,
    }),
    seconds: new Histogram({
      name: "tideline_rules_batch_seconds",
      help: "How long it took from Kafka's answer until the alerts of a micro-batch were committed",
      labelNames: ["stream"],
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
      registers,
    }),
  };
}
