import { type ColumnText, isHeldByColumns } from "../text/column-text.ts";
import { sequenceLength } from "../text/utf8.ts";
import {
  BACKSLASH,
  ESCAPED,
  firstSpecial,
  hexUnit,
  type JsonInput,
  NOT_RECOGNISED,
  QUOTE,
  specialBytes,
} from "./json-input.ts";

/**
 * Reads the text whose opening quote is at `from`, and writes its characters to `out` as UTF-8. Returns the position
 * after the closing quote. Returns NOT_RECOGNISED if there is no text, or if it has more than `max` UTF-16 units (the
 * contract allows as many code points), a lone surrogate, or a character that a column cannot hold.
 */
export function readText(input: JsonInput, from: number, max: number, out: ColumnText): number {
  const { bytes, view, end } = input;
  if (from >= end || bytes[from] !== QUOTE) return NOT_RECOGNISED;
  const begin = out.end;
  let written = begin;
  /** The number of bytes written in excess of one for each UTF-16 unit. */
  let surplus = 0;
  let at = from + 1;
  while (at < end) {
    if (at + 4 <= end) {
      const word = view.getInt32(at, true);
      // Write all four bytes. Those that are not part of the text are overwritten later.
      out.view.setInt32(written, word, true);
      const special = specialBytes(word);
      const plain = special === 0 ? 4 : firstSpecial(special);
      at += plain;
      written += plain;
      if (special === 0) continue;
    }
    const byte = bytes[at] as number;
    if (byte === QUOTE) {
      if (written - begin - surplus > max) return NOT_RECOGNISED;
      out.end = written;
      return at + 1;
    }
    if (byte === BACKSLASH) {
      const character = characterAt(bytes, at, end);
      if (character < 0) return NOT_RECOGNISED;
      const size = writeCharacter(out.bytes, written, character);
      written += size;
      surplus += SURPLUS[size] as number;
      at += escapeSize(bytes, at, character);
    } else {
      if (byte < 0x20) return NOT_RECOGNISED;
      const size = byte < 0x80 ? 1 : sequenceLength(bytes, at, end);
      if (size === 0) return NOT_RECOGNISED;
      for (let index = 0; index < size; index++) out.bytes[written++] = bytes[at++] as number;
      surplus += SURPLUS[size] as number;
    }
  }
  return NOT_RECOGNISED;
}

/** The bytes of a character in excess of its UTF-16 units, by its number of bytes. */
const SURPLUS = Uint8Array.of(0, 0, 1, 2, 2);

/** Returns the code point of the escape whose backslash is at `at`. NOT_RECOGNISED if a column cannot hold it. */
function characterAt(bytes: Uint8Array, at: number, end: number): number {
  const letter = at + 1 < end ? (bytes[at + 1] as number) : 0;
  if (letter !== 0x75) return letter < 0x80 && ESCAPED[letter] !== 0 ? (ESCAPED[letter] as number) : NOT_RECOGNISED;
  const unit = at + 6 <= end ? hexUnit(bytes, at + 2) : NOT_RECOGNISED;
  if (unit < 0 || !isHeldByColumns(unit)) return NOT_RECOGNISED;
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  const isPair = unit < 0xdc00 && at + 12 <= end && bytes[at + 6] === BACKSLASH && bytes[at + 7] === 0x75;
  const low = isPair ? hexUnit(bytes, at + 8) : NOT_RECOGNISED;
  return low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00) : NOT_RECOGNISED;
}

function escapeSize(bytes: Uint8Array, at: number, character: number): number {
  return bytes[at + 1] !== 0x75 ? 2 : character < 0x10000 ? 6 : 12;
}

/** Writes a character as UTF-8. Returns its size. */
function writeCharacter(target: Uint8Array, at: number, character: number): number {
  if (character < 0x80) {
    target[at] = character;
    return 1;
  }
  if (character < 0x800) {
    target[at] = 0xc0 | (character >> 6);
    target[at + 1] = 0x80 | (character & 0x3f);
    return 2;
  }
  if (character < 0x10000) {
    target[at] = 0xe0 | (character >> 12);
    target[at + 1] = 0x80 | ((character >> 6) & 0x3f);
    target[at + 2] = 0x80 | (character & 0x3f);
    return 3;
  }
  target[at] = 0xf0 | (character >> 18);
  target[at + 1] = 0x80 | ((character >> 12) & 0x3f);
  target[at + 2] = 0x80 | ((character >> 6) & 0x3f);
  target[at + 3] = 0x80 | (character & 0x3f);
  return 4;
}
