import type { Component, StateValue } from "../../core/measures/measure.ts";
import { type BucketDelta, cellField, type GroupRow, type RowColumn } from "./chain-state.ts";

/**
 * The integers and picks of one group as one field of a page: `<group as JSON>` -> its values in a fixed order. A field
 * for each value would cost Redis, the writer and the readers several times as much. A page with such rows names their
 * components in the field `*`. Pure.
 */

/** The field of a page that names the components of its rows. */
export const COLUMNS_FIELD = "*";

/**
 * Stands between the values of a row, and between the names of components. None of them contains it: a pick's value is
 * JSON, which escapes control characters.
 */
const BETWEEN = "\u001f";

/** Whether rows have the values of a component: items and sketches have fields of their own. */
export function inRows({ form }: Pick<Component, "form">): boolean {
  return form === "integer" || form === "pick";
}

/** The names of the columns, as the field `*` has them. */
export function columnsText(columns: readonly Pick<RowColumn, "key">[]): string {
  return columns.map(({ key }) => key).join(BETWEEN);
}

/** The values of one row as text. */
export function rowText(values: readonly (StateValue | null)[]): string {
  let text = "";
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? "";
    text += index === 0 ? value.toString() : BETWEEN + value.toString();
  }
  return text;
}

/** The texts of what `columnsText` or `rowText` made; empty for no value. */
export function partsOfText(text: string): string[] {
  return text.split(BETWEEN);
}

/** How many values a row has. */
export function countValues([, values]: GroupRow): number {
  let count = 0;
  for (const value of values) if (value !== null) count += 1;
  return count;
}

/** The values of a delta, a cell each: those of its rows as well. */
export function* cellsOfDelta({ values, rows }: BucketDelta): Generator<BucketDelta["values"][number]> {
  yield* values;
  for (const [group, row] of rows?.rows ?? []) {
    for (const [index, { key, merge }] of rows?.columns.entries() ?? []) {
      const value = row[index] ?? null;
      if (value !== null) yield { merge, field: cellField(key, group), value };
    }
  }
}
