import type { Component, StateValue } from "../../core/measures/measure.ts";
import { type BucketDelta, cellField, type GroupRow, type RowColumn } from "./chain-state.ts";

/**
 * The integers and picks of one group as one field of a page: `<group as JSON>` -> its values in a fixed order. A
 * separate field for each value would cost Redis, the writer and the readers several times as much. The field `*` of
 * such a page names the components of its rows. Pure.
 */

/** The field of a page that names the components of its rows. */
export const COLUMNS_FIELD = "*";

/**
 * The separator of the values of a row, and of the names of components. None of them contains it: a pick's value is
 * JSON, which escapes control characters.
 */
const BETWEEN = "\u001f";

/** Whether rows contain the values of a component. Items and sketches have fields of their own. */
export function inRows({ form }: Pick<Component, "form">): boolean {
  return form === "integer" || form === "pick";
}

/** Returns the names of the columns, for the field `*`. */
export function columnsText(columns: readonly Pick<RowColumn, "key">[]): string {
  return columns.map(({ key }) => key).join(BETWEEN);
}

/** Returns the values of one row as text. */
export function rowText(values: readonly (StateValue | null)[]): string {
  let text = "";
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? "";
    text += index === 0 ? value.toString() : BETWEEN + value.toString();
  }
  return text;
}

/** Splits the text of `columnsText` or `rowText`. A missing value is empty. */
export function partsOfText(text: string): string[] {
  return text.split(BETWEEN);
}

/** Returns the number of values in a row. */
export function countValues([, values]: GroupRow): number {
  let count = 0;
  for (const value of values) if (value !== null) count += 1;
  return count;
}

/** Yields the values of a delta, one for each cell, with those of its rows. */
export function* cellsOfDelta({ values, rows }: BucketDelta): Generator<BucketDelta["values"][number]> {
  yield* values;
  for (const [group, row] of rows?.rows ?? []) {
    for (const [index, { key, merge }] of rows?.columns.entries() ?? []) {
      const value = row[index] ?? null;
      if (value !== null) yield { merge, field: cellField(key, group), value };
    }
  }
}
