/** The names of runs. A workflow id names the work, so that the same work never runs twice at once (invariant 13). */

/** Kinds of work that are done for a stream. */
export const STREAM_KINDS = ["settle", "compact", "archive", "compact-archive", "retention"] as const;
type StreamKind = (typeof STREAM_KINDS)[number];

/**
 * Kinds of work. Each is done for a stream, a view, a view and an interval (backfill), all generations (retire), all
 * views (prove), or a day (report, delivery).
 */
export type Kind = StreamKind | "rebuild" | "backfill" | "adopt" | "retire" | "prove" | "report" | "delivery";

/** `rebuild/revenue`, or `<namespace>/rebuild/revenue`. */
export function workId(namespace: string, kind: Kind, target: string): string {
  return prefixed(namespace, `${kind}/${target}`);
}

/** `settle-orders`, or `<namespace>/settle-orders`. */
export function scheduleId(namespace: string, kind: Kind, target: string): string {
  return prefixed(namespace, `${kind}-${target}`);
}

/**
 * Whether a schedule's id belongs to the installation with this namespace. Ids of an installation without a namespace
 * have no slash.
 */
export function isScheduleOf(namespace: string, id: string): boolean {
  return namespace === "" ? !id.includes("/") : id.startsWith(`${namespace}/`);
}

export function taskQueueOf(namespace: string): string {
  return namespace === "" ? "tideline" : `tideline-${namespace}`;
}

/**
 * Returns the queue of long activities, which a worker runs in a process of low priority. No namespace gives this name.
 */
export function backgroundQueueOf(taskQueue: string): string {
  return `${taskQueue}.background`;
}

function prefixed(namespace: string, name: string): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** The one-line summary of a run, which Temporal shows beside its id. */
export const SUMMARIES: Readonly<Record<Kind, (target: string) => string>> = {
  settle: (stream) => `archives stream ${stream} and publishes the next versions of its views`,
  archive: (stream) => `Kafka to Parquet: archives stream ${stream}`,
  "compact-archive": (stream) => `merges small archive files of stream ${stream}`,
  compact: (stream) => `merges small state files of views of stream ${stream}`,
  retention: (stream) => `looks when Kafka will delete what is still needed of stream ${stream}`,
  backfill: (target) => `recomputes ${target.replace("/", " ")} from the archive`,
  adopt: (view) => `brings the changed definition of view ${view} into service`,
  retire: () => "retires generations that nobody needs any more",
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

const HOUR_MS = 3_600_000;

/**
 * After this time Temporal ends a run that has not ended by itself, including everything that it continued as new. A
 * run that can never finish would keep its plain id, and so block the work of every later run. Finished work stays
 * done, so a limit costs little.
 */
const TIMEOUT_HOURS: Readonly<Record<Kind, number>> = {
  // After a long outage this may not be enough; the next run continues after the chunks that are done.
  archive: 2,
  // Archives, then computes the records since the last versions.
  settle: 3,
  "compact-archive": 2,
  compact: 6,
  retention: 3,
  retire: 1,
  // One view after the other; each may take as long as the API allows for a proof.
  prove: 12,
  // Waits for its mail, which is tried for a day.
  report: 36,
  // Waits for its time of delivery; a delivery that waits longer has a longer limit.
  delivery: 14 * 24,
  // These read the whole archive. An adoption begins again with the next scheduled run.
  rebuild: 48,
  adopt: 48,
  // Computes days or weeks of a long history. If it is started again, it continues where it was.
  backfill: 14 * 24,
};

/** Returns the time limit of a run of this kind, in milliseconds. */
export function executionTimeoutMs(kind: Kind): number {
  return TIMEOUT_HOURS[kind] * HOUR_MS;
}

/** Returns the time limit of a schedule's run. It waits for the work, so it has to last longer. */
export function scheduledTimeoutMs(kind: Kind): number {
  return executionTimeoutMs(kind) + HOUR_MS;
}

export const SEARCH_ATTRIBUTES = { view: "TidelineView", stream: "TidelineStream", kind: "TidelineKind" } as const;

/**
 * Returns the options by which a client starts `settleStream` or joins the running one. With `views: []` the run only
 * does what updates ask for.
 */
export function settlementStart(namespace: string, stream: string, views?: readonly string[]) {
  return {
    workflowId: workId(namespace, "settle", stream),
    workflowIdConflictPolicy: "USE_EXISTING" as const,
    taskQueue: taskQueueOf(namespace),
    args: [{ stream, ...(views === undefined ? {} : { views }) }] as [{ stream: string; views?: readonly string[] }],
    staticSummary: SUMMARIES.settle(stream),
    workflowExecutionTimeout: executionTimeoutMs("settle"),
  };
}
