import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Failure } from "../../core/failures.ts";
import { failingGauge } from "../../store/failing-gauge.ts";
import type { ViewStatus } from "../read/live/view-status.ts";

/**
 * Everything that serving measures:
 *
 *   tideline_http_request_seconds{route,method,status}  how long requests took
 *   tideline_view_freshness_seconds{view}               age of the newest change in an answer
 *   tideline_view_complete{view}                        1 when batch version and live state tile the log
 *   tideline_view_batch_version{view}                   number of the newest batch version
 *   tideline_view_cells{view}                           cells of live state in Redis
 *   tideline_helper_answers_total{status}               answers of the helper process, which computes what is large;
 *                                                       each is a request above, too
 *   tideline_helper_answering, tideline_helper_waiting  large answers that it computes now, and that wait for a turn
 *   tideline_failing{kind,name,code}                    1 for each thing that fails again and again, in the whole
 *                                                       installation
 *   and prom-client's metrics of the process
 */
export interface ServingMetrics {
  readonly registry: Registry;
  observeLarge(status: number): void;
  observeRequest(route: string, method: string, status: number, seconds: number): void;
  /** `status` is null for a view without a published version. */
  setView(view: string, status: ViewStatus | null): void;
}

/** The current load of the helper. */
export interface LargeAnswers {
  readonly inUse: number;
  readonly waiting: number;
}

/** `problems` and `helper` are called at every scrape. Without a helper its metrics are absent. */
export function createMetrics(
  problems: () => readonly Failure[] = () => [],
  helper: LargeAnswers | null = null,
): ServingMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: "tideline_http_request_seconds",
    help: "How long requests took, by route and status",
    labelNames: ["route", "method", "status"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  failingGauge(registry, problems);
  const large = new Counter({
    name: "tideline_helper_answers_total",
    help: "Answers of the helper process, which computes what is large, by status",
    labelNames: ["status"],
    registers,
  });
  if (helper !== null) {
    const asked = (name: string, help: string, value: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    asked("tideline_helper_answering", "Large answers that the helper computes now", () => helper.inUse);
    asked("tideline_helper_waiting", "Large answers that wait for a turn", () => helper.waiting);
  }
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames: ["view"], registers });
  const freshness = gauge("tideline_view_freshness_seconds", "Age of the newest change in an answer");
  const complete = gauge("tideline_view_complete", "1 when batch version and live state tile the log");
  const version = gauge("tideline_view_batch_version", "Number of the newest batch version");
  const cells = gauge("tideline_view_cells", "Cells of live state in Redis");
  return {
    registry,
    observeLarge: (status) => large.inc({ status }),
    observeRequest: (route, method, status, seconds) => requests.observe({ route, method, status }, seconds),
    setView: (view, status) => {
      complete.set({ view }, status !== null && status.missing === null ? 1 : 0);
      if (status === null) return;
      freshness.set({ view }, status.freshnessMs / 1_000);
      version.set({ view }, status.manifest.version);
      cells.set({ view }, status.chain?.cells ?? 0);
    },
  };
}
