import { ALERT_TEXT, alerts, OWN_RULE, SEVERITIES, type Severity } from "../contract/alerts.ts";
import { type Sql, sqlProblem } from "../contract/sql.ts";
import type { Stream } from "../contract/stream.ts";
import { parseDuration } from "../time.ts";

export interface RuleDefinition {
  /** The stream whose events the rule reads. */
  readonly on: Stream;
  /** A condition over one event. An event for which it is true opens an alert. */
  readonly when: Sql;
  /**
   * The subject of an alert: text, an integer or a boolean. Absent: the rule has one alert at a time, whatever the
   * event.
   */
  readonly key?: Sql;
  /**
   * A key has at most one alert in each interval of event time of this length, such as "1 minute". Intervals are
   * aligned to 1970, so the alerts depend on the log alone.
   */
  readonly quiet: string;
  /** Absent: "warning". */
  readonly severity?: Severity;
  /** The alert's text, for people. */
  readonly says?: Sql;
  /** The position in the log where a new rule begins: its "end", which is the default, or its "start". */
  readonly from?: "start" | "end";
}

/** A rule: a condition for the events of a stream that open an alert. */
export interface Rule {
  readonly kind: "rule";
  readonly name: string;
  readonly on: Stream;
  readonly when: Sql;
  readonly key: Sql | null;
  readonly quiet: string;
  readonly quietMs: number;
  readonly severity: Severity;
  readonly says: Sql | null;
  readonly from: "start" | "end";
}

/** Defines a rule. Problems of a definition are found at start-up, with file and field. */
export function rule(name: string, definition: RuleDefinition): Rule {
  const { on, when, key = null, quiet, severity = "warning", says = null, from = "end" } = definition;
  const quietMs = parseDuration(String(quiet)) ?? 0;
  return { kind: "rule", name, on, when, key, quiet, quietMs, severity, says, from };
}

/** Returns the problems of a rule that can be found without a database: one sentence per problem, naming the field. */
export function checkRuleShape({ name, on, when, key, quiet, quietMs, severity, says, from }: Rule): string[] {
  const problems: string[] = [];
  if (on.name === alerts.name) problems.push("on: alerts are what rules open; make a view over them instead");
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name))
    problems.push(`name "${name}": use lower-case letters, digits and dashes, at most 63`);
  if (name === OWN_RULE) problems.push(`name "${name}": Tideline's own alerts have it; take another one`);
  if (quietMs === 0) problems.push(`quiet: "${String(quiet)}" is not a duration such as "1 minute"`);
  if (!SEVERITIES.includes(severity))
    problems.push(`severity: one of ${SEVERITIES.join(", ")}, not "${String(severity)}"`);
  if (from !== "start" && from !== "end") problems.push(`from: "start" or "end", not "${String(from)}"`);
  for (const [field, expression] of Object.entries({ when, key, says })) {
    const problem = expression === null ? null : sqlProblem(expression);
    if (problem !== null) problems.push(`${field}: ${problem}`);
  }
  if (sqlProblem(when) === null && when.text.length > ALERT_TEXT.condition)
    problems.push(`when: at most ${ALERT_TEXT.condition} characters, which an alert keeps`);
  return problems;
}
