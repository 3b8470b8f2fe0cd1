import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  DOT,
  firstSpecial,
  type JsonInput,
  MINUS,
  NOT_RECOGNISED,
  OPEN_BRACE,
  OPEN_BRACKET,
  otherThanDigits,
  QUOTE,
  skipBlank,
  skipText,
  ZERO,
} from "./json-input.ts";

/**
 * Skips values that the contract does not name. Still checks that the bytes are UTF-8 and the grammar is that of JSON:
 * `JSON.parse` accepts everything that is skipped here.
 */

/** The most levels of nesting that are recognised. One bit of a number says for each level whether it is an object. */
const MOST_LEVELS = 31;

/** Returns the end of the value that begins at `from`. NOT_RECOGNISED if it is not JSON, or is nested too deeply. */
export function skipValue(input: JsonInput, from: number): number {
  const { bytes, end } = input;
  if (from < end && bytes[from] === QUOTE) return skipText(input, from + 1);
  let levels = 0;
  /** The lowest bit is the innermost level: 1 for an object, 0 for an array. */
  let objects = 0;
  let at = from;
  for (;;) {
    const first = at < end ? bytes[at] : 0;
    if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      if (levels === MOST_LEVELS) return NOT_RECOGNISED;
      levels += 1;
      objects = (objects << 1) | (first === OPEN_BRACE ? 1 : 0);
      at = skipBlank(input, at + 1);
      if (at >= end) return NOT_RECOGNISED;
      if (bytes[at] !== closing(objects)) {
        if ((objects & 1) === 1) at = skipKey(input, at);
        if (at < 0) return NOT_RECOGNISED;
        continue;
      }
    } else {
      at = first === QUOTE ? skipText(input, at + 1) : skipScalar(input, at);
      if (at < 0 || levels === 0) return at;
      at = skipBlank(input, at);
    }
    while (at < end && bytes[at] === closing(objects)) {
      levels -= 1;
      objects >>>= 1;
      at += 1;
      if (levels === 0) return at;
      at = skipBlank(input, at);
    }
    if (at >= end || bytes[at] !== COMMA) return NOT_RECOGNISED;
    at = skipBlank(input, at + 1);
    if ((objects & 1) === 1) at = skipKey(input, at);
    if (at < 0) return NOT_RECOGNISED;
  }
}

function closing(objects: number): number {
  return (objects & 1) === 1 ? CLOSE_BRACE : CLOSE_BRACKET;
}

/** Returns the start of the value whose key is at `from`. */
function skipKey(input: JsonInput, from: number): number {
  const { bytes, end } = input;
  const after = from < end && bytes[from] === QUOTE ? skipText(input, from + 1) : NOT_RECOGNISED;
  return after < 0 ? NOT_RECOGNISED : skipColon(input, after);
}

/** Returns the start of the value whose key ends at `from`. */
function skipColon(input: JsonInput, from: number): number {
  const at = skipBlank(input, from);
  return at < input.end && input.bytes[at] === COLON ? skipBlank(input, at + 1) : NOT_RECOGNISED;
}

/** true, false and null as four bytes, little endian. Of false the first letter is left out. */
const TRUE = 0x65757274;
const ALSE = 0x65736c61;
const NULL = 0x6c6c756e;

/** Returns the end of a number, true, false or null. */
function skipScalar(input: JsonInput, from: number): number {
  const { bytes, view, end } = input;
  const first = bytes[from] as number;
  if (first < 0x61) return skipNumber(input, from);
  if (first === 0x66) return from + 5 <= end && view.getInt32(from + 1, true) === ALSE ? from + 5 : NOT_RECOGNISED;
  if (from + 4 > end) return NOT_RECOGNISED;
  const word = view.getInt32(from, true);
  return word === TRUE || word === NULL ? from + 4 : NOT_RECOGNISED;
}

/** Returns the end of a number. It may be larger than a double: `JSON.parse` accepts that. */
function skipNumber(input: JsonInput, from: number): number {
  const { bytes, end } = input;
  const first = bytes[from] === MINUS ? from + 1 : from;
  let at = skipDigits(input, first);
  if (at === first || (at > first + 1 && bytes[first] === ZERO)) return NOT_RECOGNISED;
  if (at < end && bytes[at] === DOT) {
    const places = at + 1;
    at = skipDigits(input, places);
    if (at === places) return NOT_RECOGNISED;
  }
  if (at < end && ((bytes[at] as number) | 0x20) === 0x65) {
    const isSigned = at + 1 < end && (bytes[at + 1] === 0x2b || bytes[at + 1] === MINUS);
    const exponent = at + (isSigned ? 2 : 1);
    at = skipDigits(input, exponent);
    if (at === exponent) return NOT_RECOGNISED;
  }
  return at;
}

function skipDigits({ bytes, view, end }: JsonInput, from: number): number {
  let at = from;
  while (at + 4 <= end) {
    const others = otherThanDigits(view.getInt32(at, true));
    if (others !== 0) return at + firstSpecial(others);
    at += 4;
  }
  while (at < end && (bytes[at] as number) >= ZERO && (bytes[at] as number) <= ZERO + 9) at += 1;
  return at;
}
