import type { FieldSpec } from "../../contract/field.ts";
import { bare } from "../../contract/fields.ts";
import type { Fields } from "../../contract/stream.ts";
import { utf8 } from "./utf8.ts";

/**
 * The characters between the rows of a column's text, and in the place of an absent value. No recognised text contains
 * them.
 */
export const ROW_SEPARATOR = 0x1e;
export const ABSENT = 0x1f;

/** Whether the text of a column can hold a character. */
export function isHeldByColumns(character: number): boolean {
  return character !== 0 && character !== ROW_SEPARATOR && character !== ABSENT;
}

export const FIRST_PRINTABLE = 0x20;
/**
 * The bytes that a column may need in addition to the bytes of a record: a separator, a default, the zeros of a
 * decimal.
 */
export const SPARE = 1_024;

/** The text of an absent value. */
export const NOTHING = Uint8Array.of(ABSENT);

/** The texts of a column's rows in one piece of bytes. */
export class ColumnText {
  bytes: Uint8Array;
  /** A view of the same bytes, for writing four at a time. */
  view: DataView;
  end = 0;
  /** The start of the row that is being written. */
  row = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    if (this.end + size <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.end + size));
    grown.set(this.bytes.subarray(0, this.end));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  write(text: Uint8Array): void {
    const target = this.bytes;
    let end = this.end;
    for (let at = 0; at < text.length; at++) target[end++] = text[at] as number;
    this.end = end;
  }

  /** Writes a whole number below 10^16. */
  writeWhole(value: number): void {
    if (value < 0) this.bytes[this.end++] = MINUS;
    const size = Math.abs(value);
    const high = Math.floor(size / EIGHT_DIGITS);
    if (high > 0) this.#writeDigits(high, digitsOf(high));
    const low = size - high * EIGHT_DIGITS;
    this.#writeDigits(low, high > 0 ? 8 : digitsOf(low));
  }

  /** Writes a number of 10^-scale units with its point. */
  writeScaled(value: number, scale: number): void {
    if (value < 0) this.bytes[this.end++] = MINUS;
    const size = Math.abs(value);
    const unit = 10 ** scale;
    const whole = Math.floor(size / unit);
    this.writeWhole(whole);
    this.bytes[this.end++] = DOT;
    this.#writeDigits(size - whole * unit, scale);
  }

  /** Writes the last `count` digits of a number below 10^8. */
  #writeDigits(value: number, count: number): void {
    const target = this.bytes;
    let left = value | 0;
    for (let at = this.end + count - 1; at >= this.end; at--) {
      const next = (left / 10) | 0;
      target[at] = ZERO + left - next * 10;
      left = next;
    }
    this.end += count;
  }
}

const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const EIGHT_DIGITS = 100_000_000;

/** Returns the number of digits of a number below 10^8. */
function digitsOf(value: number): number {
  let digits = 1;
  for (let limit = 10; value >= limit; limit *= 10) digits += 1;
  return digits;
}

/** Fields whose columns are lists. */
const LISTS: ReadonlySet<FieldSpec["type"]> = new Set(["list", "values", "map", "entries"]);

/**
 * Returns the text of a column for a field that a recognised record does not have. Null for a default that a column
 * cannot hold.
 */
export function absentText(spec: FieldSpec): Uint8Array | null {
  if (spec.type !== "default") return NOTHING;
  const { type, ...is } = bare(spec);
  if (LISTS.has(type)) return utf8("[]");
  if (type === "decimal") return utf8(String(Math.round(Number(spec.value) * 10 ** (is as { scale: number }).scale)));
  const text = utf8(String(spec.value));
  return text.length >= SPARE || text.some((byte) => byte < FIRST_PRINTABLE) ? null : text;
}

/**
 * SQL: the field's value from one row of a `RecordScanner` column, split and not changed otherwise. `mayBeAbsent`:
 * whether a row may mark an absent value.
 */
export function scannedValue({ spec }: Fields[string], text: string, mayBeAbsent: boolean): string {
  const given = mayBeAbsent || spec.type === "optional" ? `nullif(${text}, chr(${ABSENT}))` : text;
  const { type } = bare(spec);
  if (type === "text" || type === "oneOf" || LISTS.has(type)) return given;
  return `${given}::${type === "flag" ? "BOOLEAN" : "BIGINT"}`;
}
