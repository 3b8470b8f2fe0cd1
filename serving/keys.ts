import { type GroupValue, groupKey } from "../core/cells.ts";
import { type Presented, presentInteger, ROWS } from "../core/measures/measure.ts";
import { compareText } from "../core/order.ts";
import type { Query } from "../core/query.ts";
import type { TopOrder } from "../core/top-order.ts";
import type { View } from "../core/view.ts";
import { sorting, type Work } from "../core/work.ts";
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

/** The order of keys: the most frequent first, equal ones as text. */
export function keysOrder(dimension: string, { prefix, limit }: { prefix: string; limit: number }): TopOrder {
  return {
    keys: [
      { by: "component", key: ROWS.name, absent: 0, descending: true },
      { by: "text", name: dimension, descending: false },
    ],
    limit,
    prefix: prefix === "" ? null : { dimension, text: prefix },
  };
}

/** The values that begin with `prefix` (as text; null is "null"), the most frequent first. */
export function* keysOf(
  { cells }: Pick<Reading, "cells">,
  { prefix, limit }: { prefix: string; limit: number },
): Work<{ keys: Key[]; truncated: boolean }> {
  const counted = new Map<string, { key: GroupValue; rows: bigint }>();
  for (const { group, values } of cells) {
    yield 1;
    const key = group[0] ?? null;
    if (!String(key).startsWith(prefix)) continue;
    const held = counted.get(groupKey(group)) ?? { key, rows: 0n };
    held.rows += BigInt(values.get(ROWS.name) ?? 0n);
    counted.set(groupKey(group), held);
  }
  const found = [...counted.values()].filter(({ rows }) => rows > 0n);
  const sorted = yield* sorting(found, (a, b) =>
    a.rows === b.rows ? compareKeys(a.key, b.key) : a.rows > b.rows ? -1 : 1,
  );
  return {
    keys: sorted.slice(0, limit).map(({ key, rows }) => ({ key, rows: presentInteger(rows) })),
    truncated: sorted.length > limit,
  };
}

/** As text; no value after the text that is written the same. */
function compareKeys(a: GroupValue, b: GroupValue): number {
  return compareText(String(a), String(b)) || Number(a === null) - Number(b === null);
}
