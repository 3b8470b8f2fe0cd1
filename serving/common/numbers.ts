import type { PresentedField } from "../../core/measures/measure.ts";
import type { Row } from "../../core/query/present.ts";

/**
 * How an answer writes exact numbers of any size in JSON: as numbers with all of their digits, which a client may
 * round, or as text. Rows hold a number as text if a double cannot keep it; it is written as the answer's fields say.
 */
export const NUMBERS = { number: "number", text: "string" } as const;
export type Numbers = keyof typeof NUMBERS;

/** The decimal places of the columns with exact numbers. Other columns are written as they are. */
export type NumberColumns = ReadonlyMap<string, number>;

/** Returns the columns of an answer that hold exact numbers, from its fields. */
export function numberColumns(
  fields: Readonly<Record<string, { readonly values: string; readonly scale?: number }>>,
): NumberColumns {
  return new Map(
    Object.entries(fields).flatMap(([name, { values, scale = 0 }]) =>
      values === "integer" || values === "decimal" ? [[name, scale] as const] : [],
    ),
  );
}

/** Returns an exact number as text: a decimal has all of its places. */
export function numberText(value: number | string, scale: number): string {
  return typeof value === "number" && scale > 0 ? value.toFixed(scale) : String(value);
}

/** Returns rows as JSON, without the brackets around them, and whether a number has more digits than a double keeps. */
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

/** Returns one field of exact numbers as JSON: a number, or a list of records with numbers. */
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

/** An item of a top list is text, even if it looks like a number. */
const isText = (name: string) => name === "item";
/** The bounds of a bin have the decimal places of its field; its count has none. */
const isCount = (name: string) => name === "count";

function isLong(value: PresentedField | undefined): boolean {
  if (Array.isArray(value))
    return (value as readonly Row[]).some((record) =>
      Object.entries(record).some(([name, one]) => !isText(name) && typeof one === "string"),
    );
  return typeof value === "string";
}
