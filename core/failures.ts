import { z } from "zod";

/**
 * Failures that repeat. Each layer counts its own failures. A thing that has failed three times in a row for the same
 * reason is a problem that has to be shown. Pure: the caller passes the time, and every transition returns a new log.
 */

const KINDS = ["lane", "reader", "view", "rule", "delivery", "schedule", "workflow", "proof"] as const;
export type FailureKind = (typeof KINDS)[number];

/** A failing thing, as it is stored and shown. Unknown fields of a later release are dropped. */
export const Failure = z.object({
  kind: z.enum(KINDS),
  /** The name of the thing within its kind: a stream, a view, a schedule's id, a workflow's id. */
  name: z.string(),
  /** Views, or generations of views, whose answers stand still because of the failure. */
  views: z.array(z.string()).readonly(),
  /** A code of `ErrorCode`, UNEXPECTED, or one of `WORKFLOW_CODES`. */
  code: z.string(),
  message: z.string(),
  /** What to do about it. */
  hint: z.string(),
  /** The number of failures in a row for this reason. */
  failures: z.int().min(1),
  /** The times of the first and of the last known failure for this reason, in epoch milliseconds. */
  sinceMs: z.number(),
  atMs: z.number(),
});
export type Failure = z.infer<typeof Failure>;

/** One failure, before it is counted. */
export type FailureReport = Omit<Failure, "failures" | "sinceMs" | "atMs"> & {
  /** The number of failures that this report stands for. Absent: 1. */
  readonly failures?: number;
};

interface Count extends Failure {
  /** The number of failures in a row, for any reasons. */
  readonly inARow: number;
}

/** Counts by kind and name. */
export type FailureLog = ReadonlyMap<string, Count>;

export const NO_FAILURES: FailureLog = new Map();

/** The number of failures in a row for one reason that is a problem … */
export const SAME_REASON = 3;
/** … and the number for changing reasons. */
const ANY_REASON = 10;
/** A stored failure that was not renewed within this time is over, or its process has ended. */
const EXPIRES_AFTER_MS = 120_000;
/** The most characters of a message that are stored and shown. */
const MAX_MESSAGE = 500;

/** Returns the name of a failure among all: `lane/order-completed`. */
export function failureKey({ kind, name }: Pick<Failure, "kind" | "name">): string {
  return `${kind}/${name}`;
}

/** Counts a failure. A new reason starts the count for one reason again, but not the count in a row. */
export function failed(log: FailureLog, report: FailureReport, nowMs: number): FailureLog {
  const { failures = 1, ...rest } = report;
  const message = report.message.slice(0, MAX_MESSAGE);
  const before = log.get(failureKey(report));
  const isSame = before !== undefined && reasonOf(before) === reasonOf(report);
  const count: Count = {
    ...rest,
    message,
    failures: isSame ? before.failures + failures : failures,
    inARow: (before?.inARow ?? 0) + failures,
    sinceMs: isSame ? before.sinceMs : nowMs,
    atMs: nowMs,
  };
  return new Map(log).set(failureKey(report), count);
}

/** Removes the failures of one thing, because it has succeeded. */
export function succeeded(log: FailureLog, thing: Pick<Failure, "kind" | "name">): FailureLog {
  if (!log.has(failureKey(thing))) return log;
  const left = new Map(log);
  left.delete(failureKey(thing));
  return left;
}

/** Replaces a failure's count by one that was counted elsewhere. */
export function counted(log: FailureLog, failure: Failure): FailureLog {
  return new Map(log).set(failureKey(failure), { ...failure, inARow: failure.failures });
}

/** Returns the failures that are problems, by kind and name. */
export function problemsIn(log: FailureLog): Failure[] {
  return [...log.values()]
    .filter(({ failures, inARow }) => failures >= SAME_REASON || inARow >= ANY_REASON)
    .map(({ inARow: _, ...failure }) => failure)
    .sort(byKey);
}

/**
 * Returns the stored failures that have not expired, each once: the newest, if several processes reported the same
 * thing.
 */
export function current(stored: readonly Failure[], nowMs: number): Failure[] {
  const found = new Map<string, Failure>();
  for (const one of stored) {
    const known = found.get(failureKey(one));
    if (nowMs - one.atMs <= EXPIRES_AFTER_MS && (known === undefined || known.atMs < one.atMs))
      found.set(failureKey(one), one);
  }
  return [...found.values()].sort(byKey);
}

/** Whether a failure affects the answers of a view. The view is given by its name and served generation. */
export function concerns({ views }: Failure, { view, generation }: { view: string; generation: string }): boolean {
  return views.includes(view) || views.includes(generation);
}

/** Returns one sentence for people: what fails, since when, and why. */
export function sentenceOf({ kind, name, code, message, failures, sinceMs }: Failure): string {
  const since = new Date(sinceMs).toISOString().replace(/\.\d+Z$/, "Z");
  const what = {
    lane: `the speed layer fails to read ${name}`,
    reader: `reading ${name} fails`,
    view: `view ${name} is stopped`,
    rule: `rule ${name} is stopped`,
    delivery: `delivery ${name} cannot hand alerts over`,
    schedule: `the runs of schedule ${name} fail`,
    workflow: `${name} does not get on`,
    proof: `the proof of view ${name} differs`,
  }[kind];
  const often = failures > 1 ? `, ${failures} times in a row` : "";
  return `${what} since ${since}${often}: ${code}: ${message}`;
}

/** Returns the reason of a failure: its code and message without numbers, ids and positions, which differ each time. */
function reasonOf({ code, message }: Pick<Failure, "code" | "message">): string {
  return `${code} ${message.slice(0, MAX_MESSAGE).replaceAll(/[0-9a-f]*\d[0-9a-f]*(-[0-9a-f]+)*/gi, "#")}`;
}

function byKey(a: Failure, b: Failure): number {
  const [first, second] = [failureKey(a), failureKey(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}
