import { OWN_RULE, type Severity } from "../contract/alerts.ts";
import { alertId } from "./alert.ts";

/**
 * Tideline's own alerts about problems of the installation. Pure: the result of a check is data, and the caller passes
 * the time.
 */

/** A problem that a check has found. */
export interface OwnProblem {
  /** The name of the problem for as long as it lasts, such as `lag/orders` or `view/revenue`. */
  readonly key: string;
  readonly severity: Severity;
  /** The problem, and what to do about it, for people. */
  readonly says: string;
}

/** The result of one check of the installation. */
export interface CheckResult {
  readonly problems: readonly OwnProblem[];
  /**
   * The kinds of problems that could not be checked, such as `lag` while Kafka is away. A kind is the first part of a
   * problem's key. Alerts of these kinds stay as they are.
   */
  readonly unknown: ReadonlySet<string>;
}

/**
 * A watcher's memory between two checks: the times since which a problem without an alert has been there, and since
 * which a problem with an alert has been gone.
 */
export interface Watch {
  readonly seen: ReadonlyMap<string, number>;
  readonly gone: ReadonlyMap<string, number>;
}

export const NOTHING_SEEN: Watch = { seen: new Map(), gone: new Map() };

/** How long a problem must last before an alert is opened, and be gone before the alert is cleared. */
const PATIENCE_MS = 10_000;

export interface Watched {
  readonly watch: Watch;
  /** Problems that have lasted long enough, with the time when they were first seen. */
  readonly opened: readonly { readonly problem: OwnProblem; readonly sinceMs: number }[];
  /** Keys of alerts whose problem has been gone for long enough. */
  readonly cleared: readonly string[];
}

/**
 * Compares the result of a check with the open alerts; `open` are their keys. A problem opens an alert, and an alert is
 * cleared, after `patienceMs` in which every check found the same. A check that could not see a problem's kind counts
 * neither way.
 */
export function watched(
  { seen, gone }: Watch,
  open: ReadonlySet<string>,
  result: CheckResult,
  { nowMs, patienceMs = PATIENCE_MS }: { readonly nowMs: number; readonly patienceMs?: number },
): Watched {
  const found = new Map(result.problems.filter(({ key }) => isKnown(result, key)).map((one) => [one.key, one]));
  const kept = (since: ReadonlyMap<string, number>) => [...since].filter(([key]) => !isKnown(result, key));
  const nextSeen = new Map(kept(seen));
  const nextGone = new Map(kept(gone));
  const opened: { problem: OwnProblem; sinceMs: number }[] = [];
  const cleared: string[] = [];
  for (const [key, problem] of found) {
    if (open.has(key)) continue;
    const sinceMs = seen.get(key) ?? nowMs;
    if (nowMs - sinceMs >= patienceMs) opened.push({ problem, sinceMs });
    else nextSeen.set(key, sinceMs);
  }
  for (const key of open) {
    if (found.has(key) || !isKnown(result, key)) continue;
    const sinceMs = gone.get(key) ?? nowMs;
    if (nowMs - sinceMs >= patienceMs) cleared.push(key);
    else nextGone.set(key, sinceMs);
  }
  return { watch: { seen: nextSeen, gone: nextGone }, opened, cleared };
}

function isKnown({ unknown }: CheckResult, key: string): boolean {
  return !unknown.has(key.split("/", 1)[0] ?? key);
}

/**
 * Returns the id of the alert about a problem that began at `sinceMs`. It is the same for every process that saw the
 * problem begin then.
 */
export function ownAlertId(key: string, sinceMs: number): string {
  return alertId(OWN_RULE, key, sinceMs);
}
