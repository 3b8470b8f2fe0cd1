import type { GroupValue } from "../state/cells.ts";

/**
 * The values of `where[dimension]`, as written in a URL or on a command line. `null` means no value. The text null is
 * written with double quotes, `"null"`. A text that itself looks like that gets one more pair of quotes. Every other
 * text is written as it is.
 */
const NULL_IN_QUOTES = /^("*)null\1$/;

/** Returns the value of a filter's text: null for no value, else the text of a value. */
export function filterValue(text: string): string | null {
  if (text === "null") return null;
  return NULL_IN_QUOTES.test(text) ? text.slice(1, -1) : text;
}

/**
 * Returns the text that `filterValue` reads as this value: in quotes if it would otherwise mean no value, or a text in
 * quotes.
 */
export function filterText(value: string): string {
  return NULL_IN_QUOTES.test(value) ? `"${value}"` : value;
}

/** Whether a filter allows a dimension's value. Values come from a URL, so they are compared as text. */
export function filterAllows(allowed: readonly GroupValue[], value: GroupValue): boolean {
  return allowed.some((one) => (one === null || value === null ? one === value : String(one) === String(value)));
}

/** Returns the parts of a filter for a condition in SQL: the allowed texts, and whether no value is allowed. */
export function filterParts(allowed: readonly GroupValue[]): { readonly texts: string[]; readonly orNull: boolean } {
  return {
    texts: allowed.flatMap((value) => (value === null ? [] : [String(value)])),
    orNull: allowed.includes(null),
  };
}
