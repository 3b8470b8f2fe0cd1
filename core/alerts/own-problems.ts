import type { Severity } from "../contract/alerts.ts";
import { sentencesOf } from "../errors.ts";
import { concerns, type Failure, type FailureKind, failureKey, sentenceOf } from "../failures.ts";
import { type RetentionRisk, retentionText } from "../log/retention.ts";
import type { OwnProblem } from "./own-alerts.ts";

/** Which problems there are: what is found by a check becomes problems with names. */

/** From how many records behind the log on a view's lag is a problem. */
export interface LagLimits {
  /** More than this is a warning. */
  readonly warn: number;
  /** More than this is critical. */
  readonly page: number;
}

/** How far a view is behind its stream. */
export interface ViewLag {
  readonly stream: string;
  readonly view: string;
  readonly generation: string;
  /** Offsets of all partitions together. */
  readonly behind: bigint;
}

/** How far a rule, or a delivery, is behind the stream that it reads. */
export interface ReaderLag {
  readonly kind: "rule" | "delivery";
  readonly name: string;
  /** Of a delivery the stream of alerts. */
  readonly stream: string;
  /** Offsets of all partitions together. */
  readonly behind: bigint;
}

/** Kinds of problems of which nothing can be said while Kafka, or Redis, is away: what they show follows from that. */
export const FOLLOWS_FROM = {
  kafka: ["lag", "rule-lag", "delivery-lag", "retention", "lane", "reader", "rule", "delivery", "schedule", "workflow"],
  redis: ["lag", "view", "lane", "reader", "rule", "delivery", "schedule", "workflow", "proof"],
} as const;

const SEVERITY_OF: Readonly<Record<FailureKind, Severity>> = {
  lane: "critical",
  reader: "critical",
  view: "critical",
  rule: "critical",
  delivery: "critical",
  proof: "critical",
  schedule: "warning",
  workflow: "warning",
};

/** A problem for each thing that is stopped or fails again and again. */
export function failureProblems(failures: readonly Failure[]): OwnProblem[] {
  return failures.map((failure) => ({
    key: failureKey(failure),
    severity: SEVERITY_OF[failure.kind],
    says: saying(sentenceOf(failure), failure.hint),
  }));
}

/**
 * The lag of each stream: that of its view that is farthest behind. Views that are stopped are left out, because that
 * is a problem of its own. A critical lag is a second problem, so that somebody who is told only of critical ones is
 * told when it begins and ends.
 */
export function lagProblems(
  lags: readonly ViewLag[],
  limitsOf: (stream: string) => LagLimits,
  failures: readonly Failure[],
): OwnProblem[] {
  const worst = new Map<string, ViewLag>();
  for (const lag of lags) {
    if (failures.some((failure) => failure.kind === "view" && concerns(failure, lag))) continue;
    if (lag.behind > (worst.get(lag.stream)?.behind ?? -1n)) worst.set(lag.stream, lag);
  }
  return [...worst.values()].flatMap(({ stream, view, behind }) =>
    overLimits(limitsOf(stream), behind, {
      key: `lag/${stream}`,
      what: `view ${view} is ${behind} records behind stream ${stream}`,
      hint: SPEED_HINT,
    }),
  );
}

/**
 * The lag of rules and deliveries: of each stream that of its rule that is farthest behind, and that of each delivery,
 * by the limits of the stream of alerts. Those that are stopped are left out, as with views.
 */
export function readerLagProblems(
  lags: readonly ReaderLag[],
  limitsOf: (stream: string) => LagLimits,
  failures: readonly Failure[],
): OwnProblem[] {
  const worst = new Map<string, ReaderLag>();
  for (const lag of lags) {
    const key = lag.kind === "rule" ? `rule-lag/${lag.stream}` : `delivery-lag/${lag.name}`;
    if (failures.some(({ kind, name }) => kind === lag.kind && name === lag.name)) continue;
    if (lag.behind > (worst.get(key)?.behind ?? -1n)) worst.set(key, lag);
  }
  return [...worst].flatMap(([key, { kind, name, stream, behind }]) =>
    overLimits(limitsOf(stream), behind, {
      key,
      what: `${kind} ${name} is ${behind} offsets behind stream ${stream}`,
      hint:
        kind === "rule"
          ? SPEED_HINT
          : "See whether `tideline speed` runs, and how fast the receiver takes alerts; `group` sends fewer messages.",
    }),
  );
}

const SPEED_HINT = "See whether `tideline speed` runs and keeps up; more processes share the partitions.";

/** A problem for each limit that a lag is over. */
function overLimits(
  { warn, page }: LagLimits,
  behind: bigint,
  { key, what, hint }: { readonly key: string; readonly what: string; readonly hint: string },
): OwnProblem[] {
  const over = (limit: number) => saying(`${what}, more than ${limit}`, hint);
  return [
    ...(behind > warn ? [{ key, severity: "warning" as const, says: over(warn) }] : []),
    ...(behind > page ? [{ key: `${key}/critical`, severity: "critical" as const, says: over(page) }] : []),
  ];
}

/** Below this many seconds it is critical that Kafka is going to delete what is needed. */
const RETENTION_CRITICAL_S = 6 * 3_600;

/**
 * A problem when Kafka is going to delete records that are still needed, within `warnS` seconds. A topic that keeps
 * records for less than twice that long is judged by half of what it keeps.
 */
export function retentionProblems(
  stream: string,
  { risk, retentionMs }: { readonly risk: RetentionRisk | null; readonly retentionMs: number | null },
  warnS: number,
): OwnProblem[] {
  const halfS = retentionMs === null ? Number.POSITIVE_INFINITY : retentionMs / 2_000;
  if (risk === null || risk.secondsLeft >= Math.min(warnS, halfS)) return [];
  const severity = risk.secondsLeft < Math.min(RETENTION_CRITICAL_S, halfS / 2) ? "critical" : "warning";
  const says = `stream ${stream}: ${retentionText(risk)}`;
  const hint =
    'Raise retention.ms of its topic first: docs/operating.md, "Retention ends soon", has the command. ' +
    `\`tideline doctor\` says why the archive is behind, and \`tideline settle ${stream}\` archives at once.`;
  return [{ key: `retention/${stream}`, severity, says: saying(says, hint) }];
}

/** A server that does not answer. */
export function serverProblem(server: "kafka" | "redis"): OwnProblem {
  const name = { kafka: "Kafka", redis: "Redis" }[server];
  const meaning = {
    kafka: "no record is read or archived, and no rule looks at events",
    redis: "answers are those of the batch version, and no record is applied",
  }[server];
  return { key: `server/${server}`, severity: "critical", says: saying(`${name} does not answer: ${meaning}`, START) };
}

const START = "Start it again; Tideline continues where it was.";

/** A role of which no process is alive, and of which the last one did not end by itself. */
export function roleProblem(role: string): OwnProblem {
  const says = `no \`tideline ${role}\` runs any more: its process ended without saying so`;
  return { key: `role/${role}`, severity: "critical", says: saying(says, "See its log, and start it again.") };
}

function saying(message: string, hint: string): string {
  return sentencesOf({ message, hint });
}
