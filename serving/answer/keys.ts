import type { View } from "../../core/definition/view.ts";
import { decimalText, dimensionScales, shownGroupValue } from "../../core/measures/decimals.ts";
import { presentInteger, ROWS } from "../../core/measures/measure.ts";
import { compareText } from "../../core/measures/order.ts";
import type { Query } from "../../core/query/query.ts";
import type { TopOrder } from "../../core/query/top-order.ts";
import { sorting, type Work } from "../../core/query/work.ts";
import type { GroupKey, GroupValue } from "../../core/state/cells.ts";
import { bucketOf, LAST_INSTANT } from "../../core/time.ts";
import { type Numbers, numberColumns, rowsJson } from "../common/numbers.ts";
import type { Reading } from "../read/reading.ts";
import type { DescribedView } from "../views/served-views.ts";
import { LONG_NUMBERS } from "./answer.ts";
import { answerFields } from "./answer-fields.ts";
import type { KeysBody } from "./answer-schemas.ts";

/** Returns the query whose cells are the values of one dimension, with the whole window in one bucket. */
export function keysQuery(view: View, query: Query, dimension: string): Query {
  const everyMs = bucketOf(LAST_INSTANT, view.grainMs);
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

/** Returns the values that begin with `prefix` (as text; null is "null"), the most frequent first. */
export function* keysOf(
  view: View,
  dimension: string,
  { cells }: Pick<Reading, "cells">,
  { prefix, limit }: { prefix: string; limit: number },
): Work<Pick<KeysBody, "keys" | "truncated">> {
  const scale = dimensionScales(view).get(dimension) ?? 0;
  const counted = new Map<GroupKey, { key: GroupValue; rows: bigint }>();
  for (const { group, key: groupKey, values } of cells) {
    yield 1;
    const key = group[0] ?? null;
    if (!textOf(key, scale).startsWith(prefix)) continue;
    const held = counted.get(groupKey) ?? { key, rows: 0n };
    held.rows += BigInt(values.get(ROWS.name) ?? 0n);
    counted.set(groupKey, held);
  }
  const found = [...counted.values()].filter(({ rows }) => rows > 0n);
  const sorted = yield* sorting(found, (a, b) =>
    a.rows === b.rows ? compareKeys(a.key, b.key, scale) : a.rows > b.rows ? -1 : 1,
  );
  return {
    keys: sorted
      .slice(0, limit)
      .map(({ key, rows }) => ({ key: shownGroupValue(view, dimension, key), rows: presentInteger(rows) })),
    truncated: sorted.length > limit,
  };
}

/** Returns a value as text: a decimal has all of its places. */
function textOf(key: GroupValue, scale: number): string {
  return scale === 0 || key === null ? String(key) : decimalText(BigInt(key), scale);
}

/** Compares values as text. No value (null) comes after the text "null". */
function compareKeys(a: GroupValue, b: GroupValue, scale: number): number {
  return compareText(textOf(a, scale), textOf(b, scale)) || Number(a === null) - Number(b === null);
}

/**
 * Returns the answer that lists the values of a dimension, as JSON. Numbers are written, and long numbers noted, as in
 * rows.
 */
export function keysJson(
  { definition: { view }, types }: DescribedView,
  { keys, ...body }: Pick<KeysBody, "view" | "dimension" | "keys" | "notices">,
  numbers: Numbers,
): string {
  const asked = { by: [body.dimension], measures: [], everyMs: view.grainMs, calendar: null };
  const { [body.dimension]: field } = answerFields(view, types, asked);
  const columns = new Map([["rows", 0], ...(field === undefined ? [] : numberColumns({ key: field }))]);
  const { json, hasLong } = rowsJson(
    keys.map(({ key, rows }) => ({ key, rows })),
    columns,
    numbers,
  );
  const noticed = hasLong && numbers === "number" ? { notices: [...(body.notices ?? []), LONG_NUMBERS] } : {};
  return `{"keys":[${json}],${JSON.stringify({ ...body, ...noticed }).slice(1)}`;
}
