import { z } from "zod";

/**
 * What fails again and again. Each layer counts its own failures; what has failed three times in a row for the same
 * reason is a problem that has to be shown. Pure: the caller gives the time, and every transition returns a new log.
 */

const KINDS = ["lane", "reader", "view", "rule", "delivery", "schedule", "workflow", "proof"] as const;
export type FailureKind = (typeof KINDS)[number];

/** Something that fails, as it is stored and shown. Unknown fields of a later release are dropped. */
export const Failure = z.object({
  kind: z.enum(KINDS),
  /** Names the thing within its kind: a stream, a view, a schedule's id, a workflow's id. */
  name: z.string(),
  /** Views, or generations of views, whose answers stand still because of it. */
  views: z.array(z.string()).readonly(),
  /** A code of `ErrorCode`, UNEXPECTED, or one of `WORKFLOW_CODES`. */
  code: z.string(),
  message: z.string(),
  /** What to do about it. */
  hint: z.string(),
  /** How often in a row, for this reason. */
  failures: z.int().min(1),
  /** When it first failed for this reason, and when it was last known to, epoch milliseconds. */
  sinceMs: z.number(),
  atMs: z.number(),
});
export type Failure = z.infer<typeof Failure>;

/** One failure, before it is counted. */
export type FailureReport = Omit<Failure, "failures" | "sinceMs" | "atMs"> & {
  /** How many failures this stands for: 1 unless the caller knows of more. */
  readonly failures?: number;
};

interface Count extends Failure {
  /** How often in a row, for whatever reasons. */
  readonly inARow: number;
}

/** Counts by kind and name. */
export type FailureLog = ReadonlyMap<string, Count>;

export const NO_FAILURES: FailureLog = new Map();

/** This many failures in a row for one reason are a problem … */
export const SAME_REASON = 3;
/** … and this many for reasons that change. */
const ANY_REASON = 10;
/** A stored failure that nobody has renewed for so long is over, or its process is. */
const EXPIRES_AFTER_MS = 120_000;
/** A message is shown to people, and stored: it is cut off here. */
const MAX_MESSAGE = 500;

/** `lane/order-completed`: names a failure among all. */
export function failureKey({ kind, name }: Pick<Failure, "kind" | "name">): string {
  return `${kind}/${name}`;
}

/** Counts a failure. Another reason than before begins a new count, but not a new row. */
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

/** Forgets the failures of one thing: it has done its work. */
export function succeeded(log: FailureLog, thing: Pick<Failure, "kind" | "name">): FailureLog {
  if (!log.has(failureKey(thing))) return log;
  const left = new Map(log);
  left.delete(failureKey(thing));
  return left;
}

/** Takes over what was counted elsewhere, in the place of what was known of it. */
export function counted(log: FailureLog, failure: Failure): FailureLog {
  return new Map(log).set(failureKey(failure), { ...failure, inARow: failure.failures });
}

/** What has failed often enough to be shown, by kind and name. */
export function problemsIn(log: FailureLog): Failure[] {
  return [...log.values()]
    .filter(({ failures, inARow }) => failures >= SAME_REASON || inARow >= ANY_REASON)
    .map(({ inARow: _, ...failure }) => failure)
    .sort(byKey);
}

/** Those of stored failures that still hold, each once, the newest of those that several processes told. */
export function current(stored: readonly Failure[], nowMs: number): Failure[] {
  const found = new Map<string, Failure>();
  for (const one of stored) {
    const known = found.get(failureKey(one));
    if (nowMs - one.atMs <= EXPIRES_AFTER_MS && (known === undefined || known.atMs < one.atMs))
      found.set(failureKey(one), one);
  }
  return [...found.values()].sort(byKey);
}

/** Whether a failure concerns the answers of a view, given by its name and the generation that is served. */
export function concerns({ views }: Failure, { view, generation }: { view: string; generation: string }): boolean {
  return views.includes(view) || views.includes(generation);
}

/** One sentence for people: what fails, since when, why. */
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

/** Numbers, ids and positions differ from one failure to the next; the reason is what remains. */
function reasonOf({ code, message }: Pick<Failure, "code" | "message">): string {
  return `${code} ${message.slice(0, MAX_MESSAGE).replaceAll(/[0-9a-f]*\d[0-9a-f]*(-[0-9a-f]+)*/gi, "#")}`;
}

function byKey(a: Failure, b: Failure): number {
  const [first, second] = [failureKey(a), failureKey(b)];
  return first < second ? -1 : first > second ? 1 : 0;
}
