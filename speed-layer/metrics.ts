import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Failure } from "../core/failures.ts";
import { failingGauge } from "../store/failing-gauge.ts";

/** Every metric of the speed layer. */
export interface SpeedMetrics {
  readonly records: Counter<"view">;
  readonly rejects: Counter<"stream">;
  readonly batchRecords: Histogram<"stream">;
  readonly stageSeconds: Histogram<"stream" | "stage">;
  readonly repositioned: Counter<"view">;
  readonly reseeds: Counter<"view">;
  readonly compactions: Counter<"view">;
}

/** The values at the moment of a scrape. A gauge that is set by events would keep a value that is no longer true. */
export interface SpeedState {
  readonly problems: readonly Failure[];
  readonly stopped: readonly { readonly view: string; readonly code: string }[];
  readonly lags: readonly { readonly stream: string; readonly partition: number; readonly offsets: number }[];
}

const NOTHING: SpeedState = { problems: [], stopped: [], lags: [] };

/** Registers the metrics. `state` is called at every scrape. */
export function speedMetrics(registry: Registry, state: () => SpeedState = () => NOTHING): SpeedMetrics {
  const registers = [registry];
  const seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
  new Gauge({
    name: "tideline_view_stopped",
    help: "1 while a view is stopped by a named error",
    labelNames: ["view", "code"],
    registers,
    collect() {
      this.reset();
      for (const { view, code } of state().stopped) this.set({ view, code }, 1);
    },
  });
  new Gauge({
    name: "tideline_speed_lag_offsets",
    help: "Last stable offset less the next position to fetch, of the partitions of this process",
    labelNames: ["stream", "partition"],
    registers,
    collect() {
      this.reset();
      for (const { stream, partition, offsets } of state().lags) this.set({ stream, partition }, offsets);
    },
  });
  failingGauge(registry, () => state().problems);
  return {
    records: new Counter({
      name: "tideline_speed_records_total",
      help: "Records applied to a view's chain",
      labelNames: ["view"],
      registers,
    }),
    rejects: new Counter({
      name: "tideline_speed_rejects_total",
      help: "Records sent to the dead letters",
      labelNames: ["stream"],
      registers,
    }),
    batchRecords: new Histogram({
      name: "tideline_speed_batch_records",
      help: "Records in a micro-batch",
      labelNames: ["stream"],
      buckets: [1, 10, 100, 1_000, 5_000, 20_000, 50_000],
      registers,
    }),
    stageSeconds: new Histogram({
      name: "tideline_speed_stage_seconds",
      help: "What a micro-batch spends: waiting for records, decoding, computing states, waiting for Redis",
      labelNames: ["stream", "stage"],
      buckets: seconds,
      registers,
    }),
    repositioned: new Counter({
      name: "tideline_speed_repositioned_total",
      help: "Applies that Redis refused because it had another position stored; the view reads on from there",
      labelNames: ["view"],
      registers,
    }),
    reseeds: new Counter({
      name: "tideline_speed_reseeds_total",
      help: "Chains begun afresh at the batch cut",
      labelNames: ["view"],
      registers,
    }),
    compactions: new Counter({
      name: "tideline_speed_folds_total",
      help: "Runs of closed segments merged into one",
      labelNames: ["view"],
      registers,
    }),
  };
}
