import { Counter, Gauge, type Registry } from "prom-client";
import type { Failure } from "../core/failures.ts";
import { failingGauge } from "../store/failing-gauge.ts";

/** Every metric of the batch layer. */
export interface BatchMetrics {
  readonly archived: Gauge<"stream" | "partition">;
  readonly archivedRecords: Counter<"stream">;
  readonly version: Gauge<"view">;
  readonly refreshedAt: Gauge<"view">;
  readonly refreshSeconds: Gauge<"view">;
  readonly liveResets: Counter<"view">;
  readonly retentionSecondsLeft: Gauge<"stream">;
  readonly proofMismatches: Gauge<"view">;
  readonly provenAt: Gauge<"view">;
  readonly failures: Counter<"activity" | "code">;
  readonly failing: Gauge<"kind" | "name" | "code">;
}

/** `problems` is called at every scrape. */
export function batchMetrics(registry: Registry, problems: () => readonly Failure[] = () => []): BatchMetrics {
  const registers = [registry];
  return {
    archived: new Gauge({
      name: "tideline_archive_position",
      help: "Next position to archive",
      labelNames: ["stream", "partition"],
      registers,
    }),
    archivedRecords: new Counter({
      name: "tideline_archive_records_total",
      help: "Records that this worker archived",
      labelNames: ["stream"],
      registers,
    }),
    version: new Gauge({
      name: "tideline_batch_version",
      help: "Newest version of a view that this worker published",
      labelNames: ["view"],
      registers,
    }),
    refreshedAt: new Gauge({
      name: "tideline_batch_published_timestamp_seconds",
      help: "When this worker last published a version",
      labelNames: ["view"],
      registers,
    }),
    refreshSeconds: new Gauge({
      name: "tideline_batch_refresh_seconds",
      help: "How long the last settlement of the view took, from its seal to its manifest",
      labelNames: ["view"],
      registers,
    }),
    liveResets: new Counter({
      name: "tideline_view_resets_total",
      help: "How often a view's live state was dropped, to be read again, because it differed from the archive",
      labelNames: ["view"],
      registers,
    }),
    retentionSecondsLeft: new Gauge({
      name: "tideline_retention_seconds_left",
      help: "When Kafka will delete what is not archived yet, or what a speed layer would read again; +Inf for never",
      labelNames: ["stream"],
      registers,
    }),
    proofMismatches: new Gauge({
      name: "tideline_proof_mismatches",
      help: "Values that were not what the raw log says, in the last proof of a view that this worker asked for",
      labelNames: ["view"],
      registers,
    }),
    provenAt: new Gauge({
      name: "tideline_proof_last_success_timestamp_seconds",
      help: "When a view was last proven to be what the raw log says",
      labelNames: ["view"],
      registers,
    }),
    failures: new Counter({
      name: "tideline_activity_failures_total",
      help: "Failed attempts of activities, by error code",
      labelNames: ["activity", "code"],
      registers,
    }),
    failing: failingGauge(registry, problems),
  };
}
