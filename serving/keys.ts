import { type GroupValue, groupKey } from "../core/cells.ts";
import { type Presented, presentInteger, ROWS } from "../core/measures/measure.ts";
import { compareText } from "../core/order.ts";
import type { Query } from "../core/query.ts";
import type { View } from "../core/view.ts";
import type { Reading } from "./reader.ts";

/** A value that a dimension has, and how many events (or lines) have it. */
export interface Key {
  readonly key: GroupValue;
  readonly rows: Presented;
}

const ALL_OF_TIME = 8_640_000_000_000_000;

/** The query whose cells are the values of one dimension: all of the window in one bucket. */
export function keysQuery(view: View, query: Query, dimension: string): Query {
  const everyMs = Math.floor(ALL_OF_TIME / view.grainMs) * view.grainMs;
  return { ...query, by: [dimension], measures: [], everyMs, windowMs: everyMs, calendar: null, order: [] };
}

/** The values that begin with `prefix` (as text; null is "null"), the most frequent first. */
export function keysOf(
  { cells }: Pick<Reading, "cells">,
  { prefix, limit }: { prefix: string; limit: number },
): { keys: Key[]; truncated: boolean } {
  const counted = new Map<string, { key: GroupValue; rows: bigint }>();
  for (const { group, values } of cells) {
    const key = group[0] ?? null;
    if (!String(key).startsWith(prefix)) continue;
    const held = counted.get(groupKey(group)) ?? { key, rows: 0n };
    held.rows += BigInt(values.get(ROWS.name) ?? 0n);
    counted.set(groupKey(group), held);
  }
  const found = [...counted].filter(([, { rows }]) => rows > 0n);
  found.sort(([one, a], [other, b]) => {
    if (a.rows !== b.rows) return a.rows > b.rows ? -1 : 1;
    // The text "null" and no value are one text, and two groups.
    return compareText(String(a.key), String(b.key)) || compareText(one, other);
  });
  return {
    keys: found.slice(0, limit).map(([, { key, rows }]) => ({ key, rows: presentInteger(rows) })),
    truncated: found.length > limit,
  };
}
