import { quoteName } from "../contract/sql.ts";
import { TOMBSTONE } from "../definition/counted.ts";
import type { Rule } from "../definition/rule.ts";
import { VALID } from "../state/compile.ts";

/** The columns of `matchesSql` before those of the rules: partition, offset, event time, event id. */
export const MATCH_COLUMNS = 4;
/** The columns of each rule: whether it matches, its key, its text. */
export const RULE_COLUMNS = 3;

/**
 * SQL: one pass over decoded events for all `rules` of a stream. It returns a row for each event that meets at least
 * one condition, by partition and offset. A duplicate, a tombstone and a record that does not decode meet none. Keys
 * and texts are computed only where the rule's own condition is true.
 */
export function matchesSql(rules: readonly Rule[], events: string): string {
  const [first] = rules;
  if (first === undefined) throw new RangeError("no rules");
  const conditions = rules.map(({ when }, index) => `coalesce((${when.text}), false) AS ${matched(index)}`);
  const inner = `SELECT *, ${conditions.join(", ")} FROM ${events} WHERE ${VALID} AND NOT ${TOMBSTONE}`;
  const columns = rules.flatMap(({ key, says }, index) => [
    matched(index),
    onlyWhere(index, key === null ? null : `(${key.text})::VARCHAR`),
    onlyWhere(index, says === null ? null : `(${says.text})`),
  ]);
  const any = rules.map((_, index) => matched(index)).join(" OR ");
  const place = ["_partition", "_offset", quoteName(first.on.eventTime), "_id"];
  return `SELECT ${[...place, ...columns].join(", ")} FROM (${inner}) WHERE ${any} ORDER BY _partition, _offset`;
}

/** Returns a column name that no field of a contract can have. */
function matched(index: number): string {
  return `_matched_${index}`;
}

function onlyWhere(index: number, sql: string | null): string {
  return sql === null ? "NULL::VARCHAR" : `CASE WHEN ${matched(index)} THEN ${sql} END`;
}
