import { Gauge, type Registry } from "prom-client";
import type { Failure } from "../core/failures.ts";

/** Registers the metric of repeated failures, which every role has. `problems` is called at every scrape. */
export function failingGauge(registry: Registry, problems: () => readonly Failure[]): Gauge<"kind" | "name" | "code"> {
  return new Gauge({
    name: "tideline_failing",
    help: "1 while something is stopped, or has failed at least three times in a row for the same reason",
    labelNames: ["kind", "name", "code"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { kind, name, code } of problems()) this.set({ kind, name, code }, 1);
    },
  });
}
