/** How runs are called. A workflow id names the work, so that the same work never runs twice at once (invariant 13). */

/** Kinds of work; each is done for a stream (archive) or a view. */
export type Kind = "archive" | "refresh" | "rebuild";

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
  refresh: (view) => `publishes the next batch version of view ${view}`,
  rebuild: (view) => `rebuilds view ${view} from the whole archive and compares`,
};

export const SEARCH_ATTRIBUTES = { view: "TidelineView", stream: "TidelineStream", kind: "TidelineKind" } as const;
