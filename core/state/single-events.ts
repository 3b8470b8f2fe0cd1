import { componentsOf, type NamedComponent } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import { cellExpressions, counted, linesSql, pickPartsSql, pickTextSql } from "./compile.ts";

/**
 * The SQL of small micro-batches: a row for each event instead of a row for each cell, so that DuckDB groups nothing. A
 * grouped statement costs about a millisecond, however few events it reads; one that only reads costs a quarter of
 * that. The caller merges the rows, as Redis merges batches: the result is the same as that of `partialSql` and
 * `partialItemsSql` (test/laws/single-events.test.ts).
 */

/**
 * What each event (or line) adds to each component, a row an event: (partition, bucket, dimensions, then for each
 * component its value, and before that its item if it has items). NULL where an event adds nothing.
 */
export function singlesSql(view: View, events: string): string {
  return `SELECT ${["_partition", ...singleExpressions(view)].join(", ")} FROM ${linesSql(view, events)}`;
}

/** The columns of `singlesSql` behind the partition, as expressions over an event (or line). */
export function singleExpressions(view: View): string[] {
  return [...cellExpressions(view), ...componentsOf(view).flatMap((component) => singleColumns(view, component))];
}

function singleColumns(view: View, component: NamedComponent): string[] {
  const { form, partial, item } = component;
  const value = ifGiven(component, form === "registers" ? partial : singleSql(view, component));
  return item === undefined ? [value] : [ifGiven(component, item.sql), value];
}

function ifGiven({ given }: NamedComponent, value: string): string {
  return given === undefined ? value : `CASE WHEN ${given} THEN ${value} END`;
}

function singleSql(view: View, component: NamedComponent): string {
  const { key, form, single } = component;
  if (form === "pick") return pickTextSql(component, pickPartsSql(view, component));
  if (single === undefined) throw new RangeError(`${key}: no SQL for a single event`);
  return single;
}

/** The events that a view counts, a row an event: (partition, 1). Summed, the rows of `countedSql`. */
export function singleCountedSql(view: View, events: string): string {
  return `SELECT _partition AS partition, 1 AS counted FROM ${events} WHERE ${counted(view)}`;
}

/** What became of a batch's records, a row a record. Summed, the rows of `batchLedgerSql`. */
export function singleLedgerSql(events: string): string {
  return [
    "SELECT _partition AS partition, 1 AS records, _duplicate::INTEGER AS duplicates,",
    ` (_reject IS NOT NULL)::INTEGER AS rejects FROM ${events}`,
  ].join("");
}
