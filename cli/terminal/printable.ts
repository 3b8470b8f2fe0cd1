/**
 * Control characters, characters that change the direction of writing, other line breaks, and lone surrogates. On a
 * terminal they could move the cursor, change colours or titles, or make a text look like another.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

const SHORT: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function escaped(character: string): string {
  return SHORT.get(character) ?? `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
}

/** Returns a foreign text in one line that a terminal shows as it is. Control characters are escaped as in JSON. */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, escaped);
}

/** As `printable`, for a text of several lines: line feeds stay. */
export function printableLines(text: string): string {
  return text.replaceAll(UNPRINTABLE, (one) => (one === "\n" ? one : escaped(one)));
}
