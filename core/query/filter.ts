import type { GroupValue } from "../state/cells.ts";

/**
 * The values of `where[dimension]`, as they are written in a URL or on a command line. `null` means no value. The text
 * null is written with double quotes, `"null"`; a text that looks so itself has one pair of quotes more. Every other
 * text is written as it is.
 */
const NULL_IN_QUOTES = /^("*)null\1$/;

/** The value that `text` stands for: null for no value, else the text of a value. */
export function filterValue(text: string): string | null {
  if (text === "null") return null;
  return NULL_IN_QUOTES.test(text) ? text.slice(1, -1) : text;
}

/** A text as `filterValue` reads it: in quotes when it would be taken for no value, or for a text in quotes. */
export function filterText(value: string): string {
  return NULL_IN_QUOTES.test(value) ? `"${value}"` : value;
}

/**
 * Whether a dimension's value is one of those that a filter allows. Values come from a URL, so they are compared as
 * text.
 */
export function filterAllows(allowed: readonly GroupValue[], value: GroupValue): boolean {
  return allowed.some((one) => (one === null || value === null ? one === value : String(one) === String(value)));
}

/** What a condition in SQL needs: the texts that are allowed, and whether no value is. */
export function filterParts(allowed: readonly GroupValue[]): { readonly texts: string[]; readonly orNull: boolean } {
  return {
    texts: allowed.flatMap((value) => (value === null ? [] : [String(value)])),
    orNull: allowed.includes(null),
  };
}
