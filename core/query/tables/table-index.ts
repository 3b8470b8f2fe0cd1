import { createHash } from "node:crypto";
import { quoteName, quoteText } from "../../contract/sql.ts";
import type { View } from "../../definition/view.ts";
import { ROWS } from "../../measures/measure.ts";
import { recordFieldSql, storedPlace } from "../stored-filter.ts";

/**
 * Indexes of tables. An index shows which keys have a value in a column, in one state file. An entry is a hash of
 * column and value, so that a lookup finds it by the statistics of row groups, whatever the value is. A lookup may find
 * other keys too; their rows are checked.
 */

/** The rows of stored state that have a column's value, and SQL of the value in such a row, as text. */
interface IndexedColumn {
  readonly component: string;
  readonly value: string;
}

/** Returns an indexed column. Null if it cannot have an index, because the value in a row may be in no state file. */
function indexedColumn(view: View, column: string): IndexedColumn | null {
  const place = storedPlace(view, column);
  switch (place?.by) {
    case "dimension":
      return { component: ROWS.name, value: `CAST(${quoteName(place.name)} AS VARCHAR)` };
    case "record":
      return { component: place.key, value: recordFieldSql(place.field) };
    case "component": {
      const { kind } = view.measures[column] ?? {};
      return kind === "min" || kind === "max" ? { component: place.key, value: "CAST(value AS VARCHAR)" } : null;
    }
    default:
      return null;
  }
}

/** Returns the problems of a table's indexes: one sentence per problem. */
export function indexProblems(view: View): string[] {
  const indexes = view.table?.indexes ?? [];
  const twice = indexes.filter((column, index) => indexes.indexOf(column) !== index);
  const others = indexes.filter((column) => indexedColumn(view, column) === null);
  return [
    ...twice.map((column) => `indexes: "${column}" is named twice`),
    ...others.map(
      (column) =>
        `indexes: "${column}" cannot have an index; parts of the key, fields of the newest record that are neither ` +
        "lists nor maps, mins and maxes can",
    ),
  ];
}

/** SQL: the entries of some columns in merged state rows, as `_entry` and the key. */
export function indexSql(view: View, columns: readonly string[], states: string): string {
  const entries = new Map<string, string[]>();
  for (const column of columns) {
    const indexed = indexedColumn(view, column);
    if (indexed === null) throw new RangeError(`${view.name}: no index can be made of ${column}`);
    const { component, value } = indexed;
    const entry = `md5_number_lower(coalesce(${quoteText(`${column}=`)} || ${value}, ${quoteText(column)}))`;
    entries.set(component, [...(entries.get(component) ?? []), entry]);
  }
  const key = keyColumns(view);
  return [...entries]
    .map(([component, some]) => {
      const wanted = `${states} WHERE component = ${quoteText(component)}`;
      return `SELECT unnest([${some.join(", ")}]) AS _entry, ${key} FROM ${wanted}`;
    })
    .join(" UNION ALL ");
}

/** The columns of a key, quoted. */
export function keyColumns({ by }: View): string {
  return Object.keys(by).map(quoteName).join(", ");
}

/** Returns the entry of a value as text, the same as `indexSql` makes. Null is no value. */
export function entryOf(column: string, value: string | null): bigint {
  const text = value === null ? column : `${column}=${value}`;
  return createHash("md5").update(text).digest().readBigUInt64LE(8);
}
