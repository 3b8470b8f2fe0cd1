import type { DuckDBValue } from "@duckdb/node-api";
import type { Match } from "../core/alerts/alert.ts";
import { MATCH_COLUMNS, matchesSql, RULE_COLUMNS } from "../core/alerts/rule-sql.ts";
import type { Rule } from "../core/definition/rule.ts";
import type { TidelineError } from "../core/errors.ts";
import { sqlFailed } from "../store/duckdb/duck-errors.ts";
import type { KeptStatements } from "../store/duckdb/kept-statements.ts";

export interface Evaluation {
  /** For each rule, ordered by partition and offset. */
  readonly matches: readonly Match[];
  /** The rules whose SQL fails on one of the events. They have no matches. */
  readonly failed: ReadonlyMap<Rule, TidelineError>;
}

/**
 * Returns the matches of all rules among decoded events, found in one pass. If the pass fails, each rule is evaluated
 * alone, so that an error of one rule does not stop the others. Throws DuckDB's error if there are no rules.
 */
export async function evaluate(
  statements: Pick<KeptStatements, "rows">,
  rules: readonly Rule[],
  events: string,
): Promise<Evaluation> {
  try {
    return { matches: await matchesOf(statements, rules, events), failed: new Map() };
  } catch (error) {
    const [only] = rules;
    if (only === undefined) throw error;
    if (rules.length === 1) return { matches: [], failed: new Map([[only, sqlFailed(only.name, error, OF_SQL)]]) };
    const matches: Match[] = [];
    const failed = new Map<Rule, TidelineError>();
    for (const rule of rules) {
      const alone = await evaluate(statements, [rule], events);
      matches.push(...alone.matches);
      for (const [which, why] of alone.failed) failed.set(which, why);
    }
    return { matches, failed };
  }
}

async function matchesOf(
  statements: Pick<KeptStatements, "rows">,
  rules: readonly Rule[],
  events: string,
): Promise<Match[]> {
  const rows = await statements.rows(matchesSql(rules, events));
  return rows.flatMap((row) => matchesIn(rules, row));
}

function matchesIn(rules: readonly Rule[], row: readonly DuckDBValue[]): Match[] {
  const [partition, offset, atMs, eventId] = row;
  const place = {
    partition: Number(partition),
    offset: BigInt(offset as bigint),
    atMs: Number(atMs),
    eventId: String(eventId),
  };
  return rules.flatMap((rule, index) => {
    const at = MATCH_COLUMNS + index * RULE_COLUMNS;
    if (row[at] !== true) return [];
    return [{ rule, ...place, key: textOf(row[at + 1]), says: textOf(row[at + 2]) }];
  });
}

function textOf(value: DuckDBValue | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

const OF_SQL = {
  code: "RULE_FAILED",
  hint:
    "Make the rule's expressions total, with nullif, TRY_CAST or a CASE, for every " +
    "event that the contract accepts. It goes on at that event.",
} as const;
