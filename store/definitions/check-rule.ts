import { matchesSql } from "../../core/alerts/rule-sql.ts";
import type { Rule } from "../../core/definition/rule.ts";
import { eventColumns } from "../decode/events.ts";
import type { Duck } from "../duckdb/duck.ts";
import { CONDITION, DIMENSION, expressionProblem, type Wanted } from "./check-view.ts";

const TEXT: Wanted = { types: new Set(["VARCHAR"]), shown: "text: write number::VARCHAR" };

/**
 * Checks a rule's SQL against its stream, with the engine that will run it. A rule's SQL has the limits of a view's
 * expressions. Returns one sentence per problem, naming the field.
 */
export async function checkRuleSql(duck: Duck, rule: Rule): Promise<string[]> {
  await duck.run(`CREATE OR REPLACE TEMP TABLE checked (${eventColumns(rule.on)})`);
  const source = { relation: "checked", columns: new Set(Object.keys(rule.on.fields)) };
  const wanted = { when: CONDITION, key: DIMENSION, says: TEXT };
  const problems: string[] = [];
  for (const field of ["when", "key", "says"] as const) {
    const expression = rule[field];
    const problem = expression === null ? null : await expressionProblem(duck, expression, wanted[field], source);
    if (problem !== null) problems.push(`${field}: ${problem}`);
  }
  if (problems.length === 0) await duck.run(matchesSql([rule], "checked"));
  return problems;
}
