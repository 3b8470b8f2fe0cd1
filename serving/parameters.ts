import type { QueryProblem } from "../core/query.ts";

/** A query string as it was sent: keys as they are (also where[region]), repeated keys as lists, and what is malformed. */
export interface Parameters {
  readonly values: Readonly<Record<string, string | readonly string[]>>;
  readonly problems: readonly QueryProblem[];
}

export const MAX_QUERY_LENGTH = 8_192;

/**
 * Reads a query string. Total and strict: percent encoding that is no UTF-8 and control characters are named, not replaced.
 * (URLSearchParams would turn %FF into U+FFFD and so answer another question than was asked.)
 */
export function parseParameters(text: string): Parameters {
  const values: Record<string, string | string[]> = Object.create(null) as Record<string, never>;
  const problems: QueryProblem[] = [];
  for (const piece of text.split("&")) {
    if (piece === "") continue;
    const equals = piece.indexOf("=");
    const name = decode(equals < 0 ? piece : piece.slice(0, equals));
    const value = decode(equals < 0 ? "" : piece.slice(equals + 1));
    if (name === null || value === null) {
      problems.push({
        parameter: name ?? piece.slice(0, 60),
        problem: "not percent-encoded UTF-8 without control characters",
        allowed: "percent-encoded UTF-8",
      });
      continue;
    }
    const held = values[name];
    values[name] = held === undefined ? value : [held, value].flat();
  }
  return { values, problems };
}

function decode(text: string): string | null {
  try {
    const decoded = /[%+]/.test(text) ? decodeURIComponent(text.replaceAll("+", " ")) : text;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    return /[\u0000-\u001f\u007f]/.test(decoded) ? null : decoded;
  } catch {
    return null;
  }
}
