import {
  CLOSE_BRACE,
  COLON,
  COMMA,
  JsonInput,
  OPEN_BRACE,
  QUOTE,
  skipBlank,
  skipText,
} from "../../core/codec/json/json-input.ts";
import { skipValue } from "../../core/codec/json/json-skip.ts";

/** A member of a JSON object, by positions in its text. */
export interface JsonMember {
  readonly name: string;
  /** Where its name begins, including the quote. */
  readonly from: number;
  /** Where its value begins. */
  readonly value: number;
  /** Where its value ends. */
  readonly to: number;
}

/**
 * Returns the members of the JSON object in `[from, end)`, in their order. Returns null if the text is not a JSON
 * object, if names have escapes, or if values are nested very deeply. `jsonMembers` can read such objects, more slowly.
 */
export function quickMembers(json: Buffer, from = 0, end = json.length): JsonMember[] | null {
  const input = new JsonInput();
  input.set(json, end);
  const members: JsonMember[] = [];
  const open = skipBlank(input, from);
  if (open >= end || json[open] !== OPEN_BRACE) return null;
  let at = skipBlank(input, open + 1);
  if (at < end && json[at] === CLOSE_BRACE) return skipBlank(input, at + 1) === end ? members : null;
  for (;;) {
    if (at >= end || json[at] !== QUOTE) return null;
    const { escapes } = input;
    const after = skipText(input, at + 1);
    if (after < 0 || input.escapes > escapes) return null;
    const colon = skipBlank(input, after);
    if (colon >= end || json[colon] !== COLON) return null;
    const value = skipBlank(input, colon + 1);
    const to = skipValue(input, value);
    if (to < 0) return null;
    members.push({ name: json.toString("utf8", at + 1, after - 1), from: at, value, to });
    at = skipBlank(input, to);
    if (at < end && json[at] === CLOSE_BRACE) return skipBlank(input, at + 1) === end ? members : null;
    if (at >= end || json[at] !== COMMA) return null;
    at = skipBlank(input, at + 1);
  }
}
