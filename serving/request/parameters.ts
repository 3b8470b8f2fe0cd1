import type { WrongParameter } from "../../core/errors.ts";

/**
 * A query string as it was sent: the parameters by name (also names such as where[region]), repeated ones as lists, and
 * what is malformed.
 */
export interface Parameters {
  readonly values: Readonly<Record<string, string | readonly string[]>>;
  readonly problems: readonly WrongParameter[];
}

export const MAX_QUERY_LENGTH = 8_192;

/** Parameters that hold text of events, and so may have control characters. */
const EVENT_TEXT = /^(where\[.*\]|prefix|key)$/s;

/**
 * Reads a query string. Never throws: reports percent encoding that is not UTF-8, and control characters where no
 * event's text is expected. (URLSearchParams would replace %FF by U+FFFD, and so answer another query than was asked.)
 */
export function parseParameters(text: string): Parameters {
  const values: Record<string, string | string[]> = Object.create(null) as Record<string, never>;
  const problems: WrongParameter[] = [];
  for (const piece of text.split("&")) {
    if (piece === "") continue;
    const equals = piece.indexOf("=");
    const name = withoutControls(decode(equals < 0 ? piece : piece.slice(0, equals)));
    const text = decode(equals < 0 ? "" : piece.slice(equals + 1));
    const value = name !== null && EVENT_TEXT.test(name) ? text : withoutControls(text);
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
    return /[%+]/.test(text) ? decodeURIComponent(text.replaceAll("+", " ")) : text;
  } catch {
    return null;
  }
}

function withoutControls(text: string | null): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text === null || /[\u0000-\u001f\u007f]/.test(text) ? null : text;
}
