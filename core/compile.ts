import { componentsOf, type NamedComponent } from "./components.ts";
import { registerSql } from "./hll.ts";
import { quoteName, quoteText } from "./sql.ts";
import type { View } from "./view.ts";

/**
 * The view compiler: one definition -> the SQL of both layers. All of it reads a relation of decoded events with the columns of the
 * contract and of `META_COLUMNS`; the caller names the relation, already restricted to the span it wants.
 */

const VALID = "_reject IS NULL AND NOT _duplicate";

/** SQL: is this event counted by the view? Never NULL. */
function counted(view: View): string {
  return view.where === null ? VALID : `(${VALID} AND coalesce((${view.where.text}), false))`;
}

/** SQL: the start of the event's bucket, epoch milliseconds. Floored, also before 1970. */
function bucket(view: View): string {
  const time = quoteName(view.stream.eventTime);
  return `(${time} - ((${time} % ${view.grainMs}) + ${view.grainMs}) % ${view.grainMs})`;
}

function dimensions(view: View): string[] {
  return Object.entries(view.by).map(([name, { text }]) => `(${text}) AS ${quoteName(name)}`);
}

/** The state of a micro-batch, a row a cell. Registers come as the list of distinct hashes, for PFADD. */
export function partialSql(view: View, events: string): string {
  const states = componentsOf(view).map((component) => `${partial(component)} AS ${quoteName(component.key)}`);
  const columns = ["_partition AS partition", `${bucket(view)} AS bucket`, ...dimensions(view), ...states];
  return `SELECT ${columns.join(", ")} FROM ${events} WHERE ${counted(view)} GROUP BY ALL`;
}

function partial({ form, partial: expression, given = "true" }: NamedComponent): string {
  return form === "integer" ? expression : `list(DISTINCT ${expression}) FILTER (${given})`;
}

/** What became of a batch's records, whatever a view counts of them: a row a partition. */
export function batchLedgerSql(events: string): string {
  return [
    "SELECT _partition AS partition, count(*) AS records, count(*) FILTER (_duplicate) AS duplicates,",
    ` count(_reject) AS rejects FROM ${events} GROUP BY ALL`,
  ].join("");
}

/** The ledger of a span for a view, a row a partition. */
export function ledgerSql(view: View, events: string): string {
  return [
    "SELECT _partition AS partition, count(*) AS records, count(*) FILTER (_duplicate) AS duplicates,",
    ` count(*) FILTER (_reject IS NOT NULL) AS rejects, count(*) FILTER (${counted(view)}) AS counted,`,
    ` count(*) FILTER (${VALID} AND NOT ${counted(view)}) AS filtered FROM ${events} GROUP BY ALL`,
  ].join("");
}

/** State rows as they are stored: (bucket, one column per dimension, component, item, value), in that order. */
export function stateSql(view: View, events: string): string {
  const names = Object.keys(view.by).map(quoteName);
  const cell = ["bucket", ...names].join(", ");
  const components = componentsOf(view);
  const source = [`${bucket(view)} AS bucket`, ...dimensions(view)].join(", ");
  const integers = components.filter(({ form }) => form === "integer");
  const aggregates = integers.map((component) => `${component.partial} AS ${quoteName(component.key)}`).join(", ");
  const wide = `SELECT ${source}, ${aggregates} FROM ${events} WHERE ${counted(view)} GROUP BY ALL`;
  const long = `SELECT ${cell}, component, 0 AS item, value FROM (UNPIVOT (${wide}) ON ${integers.map(({ key }) => quoteName(key)).join(", ")} INTO NAME component VALUE value)`;
  const sketches = components
    .filter(({ form }) => form === "registers")
    .map((component) => {
      const hashes = `SELECT DISTINCT ${source}, ${component.partial} AS hash FROM ${events} WHERE ${counted(view)} AND ${component.given ?? "true"}`;
      const ranked = registerSql(`(${hashes})`);
      return `SELECT ${cell}, ${quoteText(component.key)}, register, max(rank) FROM (${ranked}) GROUP BY ALL`;
    });
  return [long, ...sketches].map((select) => `(${select})`).join(" UNION ALL ");
}

/** How stored state rows merge: sum, min or max by component. `keep` are the columns that make a cell. */
export function mergeSql(view: View, states: string, keep: readonly string[]): string {
  const of = (merge: NamedComponent["merge"]) =>
    componentsOf(view)
      .filter((component) => component.merge === merge)
      .map(({ key }) => quoteText(key))
      .join(", ");
  const cases = (["min", "max"] as const)
    .filter((merge) => of(merge) !== "")
    .map((merge) => `WHEN component IN (${of(merge)}) THEN ${merge}(value)`)
    .join(" ");
  const merged = cases === "" ? "sum(value)::BIGINT" : `CASE ${cases} ELSE sum(value)::BIGINT END`;
  const key = [...keep, "component", "item"].join(", ");
  return `SELECT ${key}, ${merged} AS value FROM ${states} GROUP BY ${key}`;
}

/** Stored state rows in the one order that makes their hash comparable. */
export function stateOrder(view: View): string {
  return ["bucket", ...Object.keys(view.by).map(quoteName), "component", "item"].join(", ");
}
