import type { View } from "./view.ts";

/** SQL: whether a decoded record that is not refused deletes its key. Every event has an id. */
export const TOMBSTONE = "(_id IS NULL)";

/**
 * SQL: what a view counts of the records that decode and are no duplicates; null for all of them. Never NULL. Of a stream
 * with tombstones a table of newest records counts those that name its key, whatever `where` says of events; nothing
 * else counts any.
 */
export function countedCondition({ where, stream, by, table }: View): string | null {
  const wanted = where === null ? null : `coalesce((${where.text}), false)`;
  if (stream.tombstones === null) return wanted;
  const events = `(NOT ${TOMBSTONE} AND ${wanted ?? "true"})`;
  if (table?.kind !== "latest") return events;
  const named = Object.values(by).map(({ text }) => `(${text}) IS NOT NULL`);
  return `(${events} OR (${[TOMBSTONE, ...named].join(" AND ")}))`;
}
