import { OWN_RULE, type Severity } from "../contract/alerts.ts";
import { alertId } from "./alert.ts";

/**
 * Tideline's own alerts: what is wrong with the installation. Pure: a check of the installation is data, and the caller
 * gives the time.
 */

/** Something that is wrong at the moment of a check. */
export interface OwnProblem {
  /** Names the problem for as long as it lasts: `lag/orders`, `view/revenue`. */
  readonly key: string;
  readonly severity: Severity;
  /** What is wrong and what to do about it, for people. */
  readonly says: string;
}

/** What one check of the installation has found. */
export interface CheckResult {
  readonly problems: readonly OwnProblem[];
  /**
   * The kinds of problems, which are the first parts of their keys, that could not be checked: `lag` while Kafka is
   * away. Alerts of these kinds stay as they are.
   */
  readonly unknown: ReadonlySet<string>;
}

/**
 * What a watcher remembers between two checks: since when a problem without an alert is there, or one with an alert is
 * gone.
 */
export interface Watch {
  readonly seen: ReadonlyMap<string, number>;
  readonly gone: ReadonlyMap<string, number>;
}

export const NOTHING_SEEN: Watch = { seen: new Map(), gone: new Map() };

/** How long a problem must be there before it is an alert, and gone before the alert is cleared. */
const PATIENCE_MS = 10_000;

export interface Watched {
  readonly watch: Watch;
  /** Problems that have lasted long enough, with the time when they were first seen. */
  readonly opened: readonly { readonly problem: OwnProblem; readonly sinceMs: number }[];
  /** Keys of alerts whose problem has been gone for long enough. */
  readonly cleared: readonly string[];
}

/**
 * Takes the result of a check into account. `open`: the keys of the alerts that are open. A problem opens an alert, and
 * an alert is cleared, after `patienceMs` in which every check found the same. Checks that could not see a problem's
 * kind neither count for nor against it.
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

/** The id of the alert about a problem that began at `sinceMs`: the same for every process that saw it begin then. */
export function ownAlertId(key: string, sinceMs: number): string {
  return alertId(OWN_RULE, key, sinceMs);
}
