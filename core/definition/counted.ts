import type { Sql } from "../contract/sql.ts";
import type { Stream } from "../contract/stream.ts";
import type { View } from "./view.ts";

/** SQL: whether a decoded record that is not refused deletes its key. Every other record has an id. */
export const TOMBSTONE = "(_id IS NULL)";

/**
 * SQL: whether a view counts a record that decodes and is not a duplicate. Null for all of them. Never NULL. In a
 * stream with tombstones, only a table of newest records counts tombstones, and only if its key can be computed from
 * the stream's key. It counts them whatever `where` says.
 */
export function countedCondition({ where, stream, by, table }: View): string | null {
  const wanted = where === null ? null : `coalesce((${where.text}), false)`;
  if (stream.tombstones === null) return wanted;
  const events = `(NOT ${TOMBSTONE} AND ${wanted ?? "true"})`;
  if (table?.kind !== "latest" || !isToldByKey(by, stream)) return events;
  const named = Object.values(by).map(({ text }) => `(${text}) IS NOT NULL`);
  return `(${events} OR (${[TOMBSTONE, ...named].join(" AND ")}))`;
}

/**
 * Whether each part of a table's key is a function of the stream's key and of no other field: a tombstone has no other.
 * An expression such as `coalesce(country, 'unknown')` has a value for a tombstone too, but it is the key of other
 * records.
 */
function isToldByKey(by: View["by"], stream: Stream): boolean {
  return Object.values(by).every((expression) => {
    const read = fieldsIn(expression, stream);
    return read.length > 0 && read.every((field) => field === stream.key);
  });
}

/**
 * Returns the fields of a stream that an expression reads. Words in literals, names of functions and types after `::`
 * do not count. If the text cannot be read with certainty, because of comments or escapes, it returns one field too
 * many rather than one too few.
 */
function fieldsIn({ text }: Sql, { fields }: Stream): string[] {
  const isPlain = !/--|\/\*|[\\$]/.test(text);
  const code = isPlain ? text.replaceAll(/'(?:[^']|'')*'/g, "''") : text;
  return [...code.matchAll(/(?<!::\s*)\b[a-z]\w*\b(?!\s*\()/g)].map(([word]) => word).filter((word) => word in fields);
}
