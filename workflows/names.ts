/** How runs are called. A workflow id names the work, so that the same work never runs twice at once (invariant 13). */

/** Kinds of work that are done for a stream. */
export const STREAM_KINDS = ["archive", "compact-archive", "retention"] as const;
type StreamKind = (typeof STREAM_KINDS)[number];

/** Kinds of work; each is done for a stream, a view, a view and an interval (backfill), all generations (retire), all views (prove), or a day (report, delivery). */
export type Kind =
  | StreamKind
  | "refresh"
  | "rebuild"
  | "backfill"
  | "adopt"
  | "retire"
  | "prove"
  | "report"
  | "delivery";

/** The views that the nightly report's numbers come from: sales, and products. */
export const REPORT_VIEWS = ["revenue", "top-products"] as const;

/** `refresh/revenue`, or `<namespace>/refresh/revenue`. */
export function workId(namespace: string, kind: Kind, target: string): string {
  return prefixed(namespace, `${kind}/${target}`);
}

/** `refresh-revenue`, or `<namespace>/refresh-revenue`. */
export function scheduleId(namespace: string, kind: Kind, target: string): string {
  return prefixed(namespace, `${kind}-${target}`);
}

export function taskQueueOf(namespace: string): string {
  return namespace === "" ? "tideline" : `tideline-${namespace}`;
}

function prefixed(namespace: string, name: string): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** The one-line summary of a run, which Temporal shows beside its id. */
export const SUMMARIES: Readonly<Record<Kind, (target: string) => string>> = {
  archive: (stream) => `Kafka to Parquet: archives stream ${stream}`,
  "compact-archive": (stream) => `merges small archive files of stream ${stream}`,
  retention: (stream) => `looks when Kafka will delete what is still needed of stream ${stream}`,
  refresh: (view) => `publishes the next batch version of view ${view}`,
  backfill: (target) => `recomputes ${target.replace("/", " ")} from the archive`,
  adopt: (view) => `brings the changed definition of view ${view} into service`,
  retire: () => "lets go of generations that nobody needs any more",
  prove: () => "compares answers of every view with the raw log",
  report: (target) => `computes the ${reportName(target)}`,
  delivery: (target) => `mails the ${reportName(target)}`,
  rebuild: (view) => `rebuilds view ${view} from the whole archive and compares`,
};

/** `daily/2026-01-01` -> "daily report of 2026-01-01". */
function reportName(target: string): string {
  const [cadence, date] = target.split("/");
  return date === undefined ? `${cadence} report` : `${cadence} report of ${date}`;
}

export const SEARCH_ATTRIBUTES = { view: "TidelineView", stream: "TidelineStream", kind: "TidelineKind" } as const;
