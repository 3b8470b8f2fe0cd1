import type { Severity } from "../contract/alerts.ts";
import { sentencesOf } from "../errors.ts";
import { concerns, type Failure, type FailureKind, failureKey, sentenceOf } from "../failures.ts";
import { type RetentionRisk, retentionText } from "../log/retention.ts";
import type { OwnProblem } from "./own-alerts.ts";

/** Turns the findings of a check into named problems. */

/** The numbers of records behind the log from which a view's lag is a problem. */
export interface LagLimits {
  /** More than this is a warning. */
  readonly warn: number;
  /** More than this is critical. */
  readonly page: number;
}

/** The distance of a view from the end of its stream. */
export interface ViewLag {
  readonly stream: string;
  readonly view: string;
  readonly generation: string;
  /** Offsets of all partitions together. */
  readonly behind: bigint;
}

/** The distance of a rule, or a delivery, from the end of the stream that it reads. */
export interface ReaderLag {
  readonly kind: "rule" | "delivery";
  readonly name: string;
  /** For a delivery: the stream of alerts. */
  readonly stream: string;
  /** Offsets of all partitions together. */
  readonly behind: bigint;
}

/** The kinds of problems that cannot be judged while Kafka, or Redis, is away, because they follow from that. */
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

/** Returns a problem for everything that is stopped or fails repeatedly. */
export function failureProblems(failures: readonly Failure[]): OwnProblem[] {
  return failures.map((failure) => ({
    key: failureKey(failure),
    severity: SEVERITY_OF[failure.kind],
    says: saying(sentenceOf(failure), failure.hint),
  }));
}

/**
 * Returns the problems of lag, at most two a stream, for its view that is farthest behind. Stopped views are left out,
 * because each is a problem of its own. A critical lag is a second problem, so that people who get only critical alerts
 * learn when it begins and ends.
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
 * Returns the problems of lag of rules and deliveries: for each stream, of its rule that is farthest behind; and of
 * each delivery, by the limits of the stream of alerts. Stopped rules and deliveries are left out, as with views.
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

/** Returns a problem for each limit that a lag exceeds. */
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

/** It is critical if Kafka deletes data that is still needed within this many seconds. */
const RETENTION_CRITICAL_S = 6 * 3_600;

/**
 * Returns a problem if Kafka is going to delete records that are still needed within `warnS` seconds. If a topic keeps
 * records for less than twice `warnS`, half of its retention is the limit.
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

/** Returns the problem of a server that does not answer. */
export function serverProblem(server: "kafka" | "redis"): OwnProblem {
  const name = { kafka: "Kafka", redis: "Redis" }[server];
  const meaning = {
    kafka: "no record is read or archived, and no rule looks at events",
    redis: "answers are those of the batch version, and no record is applied",
  }[server];
  return { key: `server/${server}`, severity: "critical", says: saying(`${name} does not answer: ${meaning}`, START) };
}

const START = "Start it again; Tideline continues where it was.";

/** Returns the problem of a role without a living process whose last process did not end by itself. */
export function roleProblem(role: string): OwnProblem {
  const says = `no \`tideline ${role}\` runs any more: its process ended without saying so`;
  return { key: `role/${role}`, severity: "critical", says: saying(says, "See its log, and start it again.") };
}

function saying(message: string, hint: string): string {
  return sentencesOf({ message, hint });
}
