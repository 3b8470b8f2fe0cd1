import { alertOf } from "../../core/alerts/alert.ts";
import type { Alert } from "../../core/alerts/alert-states.ts";
import { matchesSql } from "../../core/alerts/rule-sql.ts";
import { quoteName, type Sql } from "../../core/contract/sql.ts";
import type { Rule } from "../../core/definition/rule.ts";
import { TidelineError } from "../../core/errors.ts";
import { type Cut, position } from "../../core/log/position.ts";
import { type SpanSource, spanEvents } from "../decode/span-events.ts";
import type { DedupSources } from "../decode/warm-dedup.ts";
import { CONDITION, expressionProblem } from "../definitions/check-view.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";

/** The record that opened an alert, and the results of computing the condition again. */
export interface Explanation {
  readonly partition: number;
  readonly offset: number;
  /** The record's fields as JSON. Null if the record does not decode any more. */
  readonly event: Readonly<Record<string, unknown>> | null;
  /** The reason why the record does not decode. Null if it decodes. */
  readonly reject: string | null;
  readonly isDuplicate: boolean;
  /**
   * Whether it is the record that the alert names. If the topic was deleted and created again, another record may be
   * there.
   */
  readonly isSame: boolean;
  /** The condition that opened the alert, and its result for the record. */
  readonly condition: { readonly sql: string; readonly holds: boolean };
  /**
   * The rule's present definition, and the alert that it opens for the record. Null when there is no such rule. `id` is
   * null when it opens no alert.
   */
  readonly now: { readonly sql: string; readonly id: string | null } | null;
}

/**
 * Reads the record that opened an alert, from the archive or the log, and computes the condition for it again. `rule`
 * is the rule's present definition. Throws the errors of `spanEvents`, and BAD_REQUEST when the alert names no record,
 * or has a condition that no rule can have.
 */
export async function explain(
  sources: DedupSources,
  duck: Duck,
  { alert, source, rule }: { readonly alert: Alert; readonly source: SpanSource; readonly rule: Rule | null },
): Promise<Explanation> {
  const { source_partition: partition, source_offset: offset, condition } = alert.opened;
  if (partition == null || offset == null || condition == null) throw unexplained(alert.id, "it names no record");
  const cut = (at: number): Cut => new Map([[partition, position(at)]]);
  const span = { ...source, from: cut(offset), to: cut(offset + 1) };
  const reading = { signal: AbortSignal.timeout(READ_LIMIT_MS) };
  const events = await spanEvents(sources, duck, span, reading);
  if (events === null) throw unexplained(alert.id, "the log has no record there");
  const fields = Object.keys(source.stream.fields);
  // Other programs may write to the log, so the alert's text must pass the checks of a rule's SQL.
  const stored: Sql = { text: condition };
  const problem = await expressionProblem(duck, stored, CONDITION, { relation: events, columns: new Set(fields) });
  if (problem !== null) throw unexplained(alert.id, `its condition ${problem}`);
  const json = `to_json({${fields.map((name) => `${quoteName(name)}: ${quoteName(name)}`).join(", ")}})::VARCHAR`;
  const asked = `SELECT ${json}, _id, _duplicate, _reject, coalesce((${condition}), false) FROM ${events}`;
  const [row] = await rowsOf(duck, asked);
  if (row === undefined) throw unexplained(alert.id, "the log has no record there");
  const [event, id, isDuplicate, reject, holds] = row;
  return {
    partition,
    offset,
    event: reject === null ? (JSON.parse(String(event)) as Record<string, unknown>) : null,
    reject: reject === null ? null : String(reject),
    isDuplicate: isDuplicate === true,
    isSame: alert.opened.source_event === String(id),
    condition: { sql: condition, holds: holds === true },
    now: rule === null ? null : { sql: rule.when.text, id: await idNow(duck, rule, events) },
  };
}

const READ_LIMIT_MS = 60_000;

/** Returns the id of the alert that a rule opens for the one event of a relation. Null when it opens none. */
async function idNow(duck: Duck, rule: Rule, events: string): Promise<string | null> {
  const [row] = await rowsOf(duck, matchesSql([rule], events));
  if (row === undefined) return null;
  const [partition, offset, atMs, eventId, , key] = row;
  const place = { partition: Number(partition), offset: BigInt(offset as bigint), atMs: Number(atMs) };
  return alertOf({ rule, ...place, eventId: String(eventId), key: key == null ? null : String(key), says: null }).id;
}

function unexplained(id: string, why: string): TidelineError {
  return new TidelineError(
    "BAD_REQUEST",
    `${id} cannot be explained: ${why}`,
    "See the stream's records around its time.",
  );
}
