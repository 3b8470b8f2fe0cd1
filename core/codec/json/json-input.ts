import { sequenceLength } from "../text/utf8.ts";

/** The JSON text of a record, and the functions that all scanners of JSON share. */

export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const MINUS = 0x2d;
export const DOT = 0x2e;
export const COLON = 0x3a;
export const OPEN_BRACKET = 0x5b;
export const BACKSLASH = 0x5c;
export const CLOSE_BRACKET = 0x5d;
export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const ZERO = 0x30;

/** Returned in place of a position when the text is not recognised. The text may still be valid. */
export const NOT_RECOGNISED = -1;

/** The bytes that contain the record, up to its end. */
export class JsonInput {
  bytes: Uint8Array = new Uint8Array(0);
  /** A view of the same bytes, for reading four at a time. */
  view = new DataView(this.bytes.buffer);
  end = 0;
  /** The number of escapes skipped so far. */
  escapes = 0;

  /** Points the input to a record that ends at `end`. */
  set(bytes: Uint8Array, end: number): void {
    this.end = end;
    // Many records lie in one large buffer, so the view is seldom made again.
    if (bytes === this.bytes) return;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}

const HIGH_BITS = 0x80808080 | 0;

/**
 * Four bytes of a JSON text, little endian: the high bit of the first byte that is a quote, a backslash, a control
 * character or not ASCII is set in the result. Bits of later bytes mean nothing. 0 if all four are plain.
 */
export function specialBytes(word: number): number {
  // XOR with 2 turns the quote (0x22) into 0x20, and keeps all control characters below 0x20: one comparison finds
  // both.
  return (((word ^ 0x02020202) - 0x21212121) | ((word ^ 0x5c5c5c5c) - 0x01010101) | word) & HIGH_BITS;
}

/** Returns the index, 0 to 3, of the byte that the lowest set bit of such a result belongs to. */
export function firstSpecial(special: number): number {
  return (31 - Math.clz32(special & -special)) >> 3;
}

/** Returns the position of the first byte at or after `from` that is not blank, at most `input.end`. */
export function skipBlank(input: JsonInput, from: number): number {
  // Nearly always there is no blank. This function is small, so that it is inlined.
  return from < input.end && (input.bytes[from] as number) > 0x20 ? from : skipBlanks(input, from);
}

function skipBlanks({ bytes, end }: JsonInput, from: number): number {
  let at = from;
  while (at < end) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at += 1;
  }
  return at;
}

/**
 * Returns the end of a text: the position after the closing quote. The first character, after the opening quote, is at
 * `from`. Returns NOT_RECOGNISED if the text has no end, a control character, an escape that JSON does not know, or
 * bytes that are not UTF-8.
 */
export function skipText(input: JsonInput, from: number): number {
  const { bytes, view, end } = input;
  let at = from;
  while (at < end) {
    if (at + 4 <= end) {
      const special = specialBytes(view.getInt32(at, true));
      if (special === 0) {
        at += 4;
        continue;
      }
      at += firstSpecial(special);
    }
    const byte = bytes[at] as number;
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) {
      input.escapes += 1;
      at = escapeEnd(bytes, at, end);
    } else if (byte < 0x20) return NOT_RECOGNISED;
    else at = byte < 0x80 ? at + 1 : characterEnd(bytes, at, end);
    if (at < 0) return NOT_RECOGNISED;
  }
  return NOT_RECOGNISED;
}

function characterEnd(bytes: Uint8Array, from: number, end: number): number {
  const length = sequenceLength(bytes, from, end);
  return length === 0 ? NOT_RECOGNISED : from + length;
}

/** Returns the end of the escape whose backslash is at `from`. NOT_RECOGNISED if it is not an escape of JSON. */
function escapeEnd(bytes: Uint8Array, from: number, end: number): number {
  const letter = from + 1 < end ? (bytes[from + 1] as number) : 0;
  if (letter !== 0x75) return letter < 0x80 && ESCAPED[letter] !== 0 ? from + 2 : NOT_RECOGNISED;
  return from + 6 <= end && hexUnit(bytes, from + 2) >= 0 ? from + 6 : NOT_RECOGNISED;
}

/** The character of each escape, by the letter after the backslash. 0 for a letter that is not an escape. */
export const ESCAPED = new Uint8Array(128);
for (const [letter, character] of Object.entries({
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
}))
  ESCAPED[letter.charCodeAt(0)] = character.charCodeAt(0);

const HEX = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit++) {
  const text = digit.toString(16);
  HEX[text.charCodeAt(0)] = digit;
  HEX[text.toUpperCase().charCodeAt(0)] = digit;
}

/** Returns the UTF-16 unit of four hexadecimal digits. Negative if they are not such digits. */
export function hexUnit(bytes: Uint8Array, at: number): number {
  // One digit of -1 makes the whole number negative.
  return (
    ((HEX[bytes[at] as number] as number) << 12) |
    ((HEX[bytes[at + 1] as number] as number) << 8) |
    ((HEX[bytes[at + 2] as number] as number) << 4) |
    (HEX[bytes[at + 3] as number] as number)
  );
}

/**
 * Four bytes, little endian: the high bit of the first byte that is not a digit is set in the result, as in
 * `specialBytes`. 0 if all are digits.
 */
export function otherThanDigits(word: number): number {
  const values = word ^ 0x30303030;
  return ((values + 0x76767676) | values) & HIGH_BITS;
}
