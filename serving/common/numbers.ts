import type { PresentedField } from "../../core/measures/measure.ts";
import type { Row } from "../../core/query/present.ts";

/**
 * How the exact numbers of an answer are written in JSON, whatever their size: as numbers with all of their digits,
 * which a reader may round, or as text. Rows hold a number that a double does not keep as text; here it becomes what
 * the answer's fields say.
 */
export const NUMBERS = { number: "number", text: "string" } as const;
export type Numbers = keyof typeof NUMBERS;

/** The places of the exact numbers in a row's columns, by column. Other columns are written as they are. */
export type NumberColumns = ReadonlyMap<string, number>;

/** The columns of an answer that hold exact numbers, by what its fields say. */
export function numberColumns(
  fields: Readonly<Record<string, { readonly values: string; readonly scale?: number }>>,
): NumberColumns {
  return new Map(
    Object.entries(fields).flatMap(([name, { values, scale = 0 }]) =>
      values === "integer" || values === "decimal" ? [[name, scale] as const] : [],
    ),
  );
}

/** An exact number as text: a decimal with all of its places. */
export function numberText(value: number | string, scale: number): string {
  return typeof value === "number" && scale > 0 ? value.toFixed(scale) : String(value);
}

/**
 * What rows are as JSON, without the brackets around them, and whether a number has more digits than a double keeps.
 */
export function rowsJson(
  rows: readonly Row[],
  columns: NumberColumns,
  numbers: Numbers,
): { readonly json: string; readonly hasLong: boolean } {
  const names = [...columns.keys()];
  const hasLong = rows.some((row) => names.some((name) => isLong(row[name])));
  if (!hasLong && numbers === "number") return { json: JSON.stringify(rows).slice(1, -1), hasLong };
  const written = rows.map((row) => {
    const entries = Object.entries(row).map(([name, value]) => {
      const scale = columns.get(name);
      const json = scale === undefined ? JSON.stringify(value) : fieldJson(value, scale, numbers);
      return `${JSON.stringify(name)}:${json}`;
    });
    return `{${entries.join(",")}}`;
  });
  return { json: written.join(","), hasLong };
}

/** One field of exact numbers as JSON: a number, or a list of records with numbers. */
export function fieldJson(value: PresentedField, scale: number, numbers: Numbers): string {
  if (!Array.isArray(value)) return valueJson(value, scale, numbers);
  const records = (value as readonly Row[]).map((record) => {
    const entries = Object.entries(record).map(
      ([name, one]) =>
        `"${name}":${isText(name) ? JSON.stringify(one) : valueJson(one, isCount(name) ? 0 : scale, numbers)}`,
    );
    return `{${entries.join(",")}}`;
  });
  return `[${records.join(",")}]`;
}

function valueJson(value: PresentedField, scale: number, numbers: Numbers): string {
  if (typeof value !== "number" && typeof value !== "string") return JSON.stringify(value);
  if (numbers === "text") return `"${numberText(value, scale)}"`;
  return typeof value === "string" && NUMBER.test(value) ? value : JSON.stringify(value);
}

/** Text that is a number of JSON. */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;

/** An item of a top list is text, also where it is a number. */
const isText = (name: string) => name === "item";
/** A bin's bounds have the places of its field, and its count has none. */
const isCount = (name: string) => name === "count";

function isLong(value: PresentedField | undefined): boolean {
  if (Array.isArray(value))
    return (value as readonly Row[]).some((record) =>
      Object.entries(record).some(([name, one]) => !isText(name) && typeof one === "string"),
    );
  return typeof value === "string";
}
