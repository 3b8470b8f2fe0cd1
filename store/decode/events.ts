import { quoteName } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";

/**
 * Returns the columns of a relation of decoded events, as DDL: the record's position, its fields, and how it was
 * decoded.
 */
export function eventColumns(stream: Stream): string {
  return columnsOf(stream)
    .map(([name, type]) => `${name} ${type}`)
    .join(", ");
}

/** Returns the names of these columns, quoted, in the same order. */
export function eventNames(stream: Stream): string {
  return columnsOf(stream)
    .map(([name]) => name)
    .join(", ");
}

function columnsOf(stream: Stream): (readonly [string, string])[] {
  const fields = Object.entries(stream.fields).map(([name, { column }]) => [quoteName(name), column] as const);
  return [
    ["_partition", "INTEGER"],
    ["_offset", "BIGINT"],
    ...fields,
    ["_id", "VARCHAR"],
    ["_duplicate", "BOOLEAN"],
    ["_reject", "VARCHAR"],
    ["_version", "INTEGER"],
  ];
}
