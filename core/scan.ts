import { bare, type FieldSpec, isRequired } from "./fields.ts";
import type { Fields, Version } from "./stream.ts";

/**
 * The quick reading of the contract: recognises nearly every record that producers send, byte by byte and without making a value of it, and writes
 * its fields as the texts of columns, which DuckDB splits and casts. What it does not recognise (escapes, 1e3, unknown or repeated keys,
 * everything invalid) is left to zod; so it may be as narrow as is fast, but never recognise what zod refuses or reads otherwise.
 */

/** Between the rows of a column's text, and in the place of a value that is not there: no recognised text holds raw control characters. */
export const ROW_SEPARATOR = 0x1e;
const ABSENT = 0x1f;

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const ZERO = 0x30;
const FIRST_PRINTABLE = 0x20;
const NOT_RECOGNISED = -1;
/** What a column may need beside the bytes of a record: a separator, a default, the zeros of a decimal. */
const SPARE = 1_024;

/** The texts of a column's rows in one piece of bytes. */
class ColumnText {
  bytes: Uint8Array;
  end = 0;
  /** Where the row that is being written begins. */
  row = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
  }

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    if (this.end + size <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.end + size));
    grown.set(this.bytes.subarray(0, this.end));
    this.bytes = grown;
  }

  write(text: Uint8Array): void {
    const target = this.bytes;
    let end = this.end;
    for (let at = 0; at < text.length; at++) target[end++] = text[at] as number;
    this.end = end;
  }
}

/** Reads one value: where it ends, or NOT_RECOGNISED. What is recognised is written to `out`, which has room for the whole record. */
interface ValueScanner {
  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number;
}

class WholeNumber implements ValueScanner {
  readonly #min: number;
  readonly #max: number;

  constructor(min: number, max: number) {
    this.#min = min;
    this.#max = max;
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    const negative = bytes[from] === MINUS;
    const first = negative ? from + 1 : from;
    let value = 0;
    let at = first;
    for (; at < end; at++) {
      const digit = (bytes[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    const digits = at - first;
    if (digits === 0 || digits > 16 || (bytes[first] === ZERO && (digits > 1 || negative))) return NOT_RECOGNISED;
    // Of sixteen digits some cannot be told apart by a double; those lie beyond every bound.
    if (negative) value = -value;
    if (value < this.#min || value > this.#max) return NOT_RECOGNISED;
    return copy(bytes, from, at, out);
  }
}

class ScaledNumber implements ValueScanner {
  readonly #scale: number;
  readonly #min: number;
  readonly #max: number;

  constructor(scale: number, min: number, max: number) {
    this.#scale = scale;
    this.#min = Math.round(min * 10 ** scale);
    this.#max = Math.round(max * 10 ** scale);
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    const start = out.end;
    const negative = bytes[from] === MINUS;
    const first = negative ? from + 1 : from;
    if (negative) out.bytes[out.end++] = MINUS;
    let value = 0;
    let at = first;
    let point = -1;
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      if (byte === DOT && point < 0) {
        point = at;
        continue;
      }
      if (byte < ZERO || byte > ZERO + 9) break;
      value = value * 10 + (byte - ZERO);
      out.bytes[out.end++] = byte;
    }
    const whole = (point < 0 ? at : point) - first;
    const places = point < 0 ? 0 : at - point - 1;
    const recognised =
      whole > 0 && (whole === 1 || bytes[first] !== ZERO) && places <= this.#scale && (point < 0 || places > 0);
    for (let missing = places; missing < this.#scale; missing++) {
      value *= 10;
      out.bytes[out.end++] = ZERO;
    }
    if (negative) value = -value;
    if (recognised && whole + this.#scale <= 16 && value >= this.#min && value <= this.#max) return at;
    out.end = start;
    return NOT_RECOGNISED;
  }
}

class PlainText implements ValueScanner {
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    // UTF-8 bytes are never fewer than UTF-16 units: text long enough to need counting is left to zod.
    const last = Math.min(end, from + 2 + this.#max);
    if (bytes[from] !== QUOTE) return NOT_RECOGNISED;
    const target = out.bytes;
    let written = out.end;
    for (let at = from + 1; at < last; at++) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        out.end = written;
        return at + 1;
      }
      if (byte < FIRST_PRINTABLE || byte === BACKSLASH) return NOT_RECOGNISED;
      if (byte >= 0x80) return this.#wide(bytes, from, end, out);
      target[written++] = byte;
    }
    return NOT_RECOGNISED;
  }

  /** A text that is more than ASCII. */
  #wide(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    const close = endOfText(bytes, from, end);
    if (close < 0 || close - from - 1 > this.#max) return NOT_RECOGNISED;
    copy(bytes, from + 1, close, out);
    return close + 1;
  }
}

class OneOf implements ValueScanner {
  readonly #values: readonly Uint8Array[];

  constructor(values: readonly string[]) {
    this.#values = values.map(utf8);
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    const close = endOfText(bytes, from, end);
    if (close < 0) return NOT_RECOGNISED;
    for (const value of this.#values) {
      if (value.length === close - from - 1 && matches(bytes, from + 1, value)) {
        out.write(value);
        return close + 1;
      }
    }
    return NOT_RECOGNISED;
  }
}

class Literals implements ValueScanner {
  readonly #literals: readonly { readonly json: Uint8Array; readonly written: Uint8Array }[];

  constructor(literals: Readonly<Record<string, string>>) {
    this.#literals = Object.entries(literals).map(([json, written]) => ({ json: utf8(json), written: utf8(written) }));
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    for (const { json, written } of this.#literals) {
      if (from + json.length <= end && matches(bytes, from, json)) {
        out.write(written);
        return from + json.length;
      }
    }
    return NOT_RECOGNISED;
  }
}

/** A value of `of`, or null. */
class Nullable implements ValueScanner {
  readonly #of: ValueScanner;
  readonly #null = new Literals({ null: String.fromCharCode(ABSENT) });

  constructor(of: ValueScanner) {
    this.#of = of;
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    return bytes[from] === 0x6e ? this.#null.scan(bytes, from, end, out) : this.#of.scan(bytes, from, end, out);
  }
}

/** A list of objects: written as the JSON that it is, once all of its elements are recognised. */
class Elements implements ValueScanner {
  readonly #element: ObjectScanner;
  readonly #max: number;

  constructor(fields: Readonly<Record<string, FieldSpec>>, max: number) {
    this.#element = new ObjectScanner(fields);
    this.#max = max;
  }

  scan(bytes: Uint8Array, from: number, end: number, out: ColumnText): number {
    if (bytes[from] !== OPEN_BRACKET) return NOT_RECOGNISED;
    let at = skipBlank(bytes, from + 1, end);
    if (bytes[at] === CLOSE_BRACKET && at < end) return copy(bytes, from, at + 1, out);
    for (let count = 1; count <= this.#max; count++) {
      for (const column of this.#element.columns) {
        column.end = 0;
        column.reserve(end - from + SPARE);
      }
      at = this.#element.scan(bytes, at, end);
      if (at < 0 || !this.#element.isComplete()) return NOT_RECOGNISED;
      at = skipBlank(bytes, at, end);
      if (at >= end) return NOT_RECOGNISED;
      if (bytes[at] === CLOSE_BRACKET) return copy(bytes, from, at + 1, out);
      if (bytes[at] !== COMMA) return NOT_RECOGNISED;
      at = skipBlank(bytes, at + 1, end);
    }
    return NOT_RECOGNISED;
  }
}

/** An object of known fields in any order, each at most once. */
class ObjectScanner {
  readonly columns: readonly ColumnText[];
  readonly #keys: readonly Uint8Array[];
  readonly #values: readonly ValueScanner[];
  readonly #required: readonly number[];
  /** The object in which each field was last seen. */
  readonly #seen: Float64Array;
  #object = 0;
  /** Which field followed which, the last one followed by none: producers write the same order again and again. */
  readonly #next: Int32Array;

  constructor(fields: Readonly<Record<string, FieldSpec>>) {
    const specs = Object.entries(fields);
    this.columns = specs.map(() => new ColumnText(1_024));
    this.#keys = specs.map(([name]) => utf8(JSON.stringify(name)));
    this.#values = specs.map(([, spec]) => scannerOf(spec));
    this.#required = specs.flatMap(([, { type }], index) => (type === "optional" || type === "default" ? [] : [index]));
    this.#seen = new Float64Array(specs.length);
    // One more place for what comes first.
    this.#next = Int32Array.from({ length: specs.length + 1 }, (_, index) => (index === specs.length ? 0 : index + 1));
  }

  has(field: number): boolean {
    return this.#seen[field] === this.#object;
  }

  isComplete(): boolean {
    for (const field of this.#required) if (this.#seen[field] !== this.#object) return false;
    return true;
  }

  /** Reads one object from its brace on: where it ends, or NOT_RECOGNISED. */
  scan(bytes: Uint8Array, from: number, end: number): number {
    this.#object += 1;
    if (from >= end || bytes[from] !== OPEN_BRACE) return NOT_RECOGNISED;
    let at = skipBlank(bytes, from + 1, end);
    if (at < end && bytes[at] === CLOSE_BRACE) return at + 1;
    for (let before = this.#keys.length; ; ) {
      const field = this.#field(bytes, at, end, before);
      if (field < 0 || this.#seen[field] === this.#object) return NOT_RECOGNISED;
      this.#seen[field] = this.#object;
      before = field;
      at = skipBlank(bytes, at + (this.#keys[field] as Uint8Array).length, end);
      if (at >= end || bytes[at] !== COLON) return NOT_RECOGNISED;
      at = skipBlank(bytes, at + 1, end);
      at = (this.#values[field] as ValueScanner).scan(bytes, at, end, this.columns[field] as ColumnText);
      if (at < 0) return NOT_RECOGNISED;
      at = skipBlank(bytes, at, end);
      if (at >= end) return NOT_RECOGNISED;
      if (bytes[at] === CLOSE_BRACE) return at + 1;
      if (bytes[at] !== COMMA) return NOT_RECOGNISED;
      at = skipBlank(bytes, at + 1, end);
    }
  }

  /** The field whose key stands at `at`: most likely the one that followed `before` the last time. */
  #field(bytes: Uint8Array, at: number, end: number, before: number): number {
    const likely = this.#next[before] as number;
    if (likely < this.#keys.length && this.#isKey(bytes, at, end, likely)) return likely;
    for (let field = 0; field < this.#keys.length; field++) {
      if (!this.#isKey(bytes, at, end, field)) continue;
      this.#next[before] = field;
      return field;
    }
    return NOT_RECOGNISED;
  }

  #isKey(bytes: Uint8Array, at: number, end: number, field: number): boolean {
    const key = this.#keys[field] as Uint8Array;
    return at + key.length <= end && matches(bytes, at, key);
  }
}

/** Turns records, one after the other, into the texts of one version's columns. */
export class RecordScanner {
  readonly #object: ObjectScanner;
  readonly #absent: readonly Uint8Array[];
  /** Fields with a default that no column's text can say: only records that have them are recognised. */
  readonly #unsayable: readonly number[];
  /** Per newer version the places of fields that it needs: a record that has them all may be one of its events. */
  readonly #newer: readonly (readonly number[])[];
  readonly #recognised = new ColumnText(1_024);
  #rows = 0;
  #failed = 0;

  /** `newer` are the versions that a record is tried as before. */
  constructor({ fields }: Version, newer: readonly Version[] = []) {
    this.#object = new ObjectScanner(
      Object.fromEntries(Object.entries(fields).map(([name, { spec }]) => [name, spec])),
    );
    const absent = Object.values(fields).map(({ spec }) => absentText(spec));
    this.#absent = absent.map((text) => text ?? NOTHING);
    this.#unsayable = absent.flatMap((text, index) => (text === null ? [index] : []));
    const names = Object.keys(fields);
    this.#newer = newer.map((version) => {
      const needed = Object.entries(version.fields).flatMap(([name, field]) => (isRequired(field) ? [name] : []));
      return needed.every((name) => names.includes(name))
        ? needed.map((name) => names.indexOf(name))
        : [NOT_RECOGNISED];
    });
  }

  /** Forgets what was scanned. */
  clear(): void {
    for (const column of [...this.#object.columns, this.#recognised]) column.end = 0;
    this.#rows = 0;
    this.#failed = 0;
  }

  get rows(): number {
    return this.#rows;
  }

  /** How many records were not recognised. */
  get failed(): number {
    return this.#failed;
  }

  /** The texts of the columns, in the order of the fields, and of a column that says `1` for a record that was recognised. */
  texts(): Uint8Array[] {
    return [...this.#object.columns, this.#recognised].map(({ bytes, end }) => bytes.subarray(0, end));
  }

  /** One record more, the text of which lies in `[from, end)`. */
  scan(bytes: Uint8Array, from: number, end: number): void {
    const { columns } = this.#object;
    const first = this.#rows === 0;
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index] as ColumnText;
      column.reserve(end - from + SPARE);
      if (!first) column.bytes[column.end++] = ROW_SEPARATOR;
      column.row = column.end;
    }
    const recognised = this.#isEvent(bytes, from, end);
    if (!recognised) this.#failed += 1;
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index] as ColumnText;
      if (recognised && this.#object.has(index)) continue;
      column.end = column.row;
      column.write(recognised ? (this.#absent[index] as Uint8Array) : NOTHING);
    }
    this.#recognised.reserve(2);
    if (!first) this.#recognised.bytes[this.#recognised.end++] = ROW_SEPARATOR;
    this.#recognised.bytes[this.#recognised.end++] = recognised ? ZERO + 1 : ZERO;
    this.#rows += 1;
  }

  #isEvent(bytes: Uint8Array, from: number, end: number): boolean {
    const object = this.#object;
    const after = object.scan(bytes, skipBlank(bytes, from, end), end);
    if (after < 0 || skipBlank(bytes, after, end) !== end || !object.isComplete()) return false;
    for (const field of this.#unsayable) if (!object.has(field)) return false;
    for (const needed of this.#newer) {
      let all = true;
      for (const field of needed) if (field < 0 || !object.has(field)) all = false;
      if (all) return false;
    }
    return true;
  }
}

const NOTHING = Uint8Array.of(ABSENT);

function scannerOf(spec: FieldSpec): ValueScanner {
  switch (spec.type) {
    case "integer":
      return new WholeNumber(spec.min, spec.max);
    case "instant":
      return new WholeNumber(Date.parse(spec.from), Date.parse(spec.to));
    case "decimal":
      return new ScaledNumber(spec.scale, spec.min, spec.max);
    case "text":
      return new PlainText(spec.max);
    case "oneOf":
      return new OneOf(spec.values);
    case "flag":
      return new Literals({ true: "true", false: "false" });
    case "list":
      return new Elements(spec.of, spec.max);
    case "optional":
      return new Nullable(scannerOf(spec.of));
    case "default":
      return scannerOf(spec.of);
  }
}

/** What stands in a column for a field that a recognised record does not have; null for a default that cannot stand there. */
function absentText(spec: FieldSpec): Uint8Array | null {
  if (spec.type !== "default") return NOTHING;
  const { type, ...is } = bare(spec);
  if (type === "list") return utf8("[]");
  if (type === "decimal") return utf8(String(Math.round(Number(spec.value) * 10 ** (is as { scale: number }).scale)));
  const text = utf8(String(spec.value));
  return text.length >= SPARE || text.some((byte) => byte < FIRST_PRINTABLE) ? null : text;
}

/**
 * SQL: a column of `RecordScanner`, split into rows and nothing else done to it, as a value of its field. `mayBeAbsent`: whether a row may say that
 * nothing is there.
 */
export function scannedValue({ spec }: Fields[string], text: string, mayBeAbsent: boolean): string {
  const given = mayBeAbsent || spec.type === "optional" ? `nullif(${text}, chr(${ABSENT}))` : text;
  const { type } = bare(spec);
  if (type === "text" || type === "oneOf" || type === "list") return given;
  return `${given}::${type === "flag" ? "BOOLEAN" : "BIGINT"}`;
}

const encoder = new TextEncoder();

function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

function matches(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let index = 0; index < text.length; index++) if (bytes[at + index] !== text[index]) return false;
  return true;
}

/** Writes `[from, to)` to a column and answers `to`. */
function copy(bytes: Uint8Array, from: number, to: number, out: ColumnText): number {
  const target = out.bytes;
  let end = out.end;
  for (let at = from; at < to; at++) target[end++] = bytes[at] as number;
  out.end = end;
  return to;
}

function skipBlank(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = bytes[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at += 1;
  }
  return at;
}

/** Where the closing quote of the text that opens at `from` stands; negative when it is no text, has escapes, or is not UTF-8. */
function endOfText(bytes: Uint8Array, from: number, end: number): number {
  if (bytes[from] !== QUOTE) return NOT_RECOGNISED;
  for (let at = from + 1; at < end; ) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) return at;
    if (byte < FIRST_PRINTABLE || byte === BACKSLASH) return NOT_RECOGNISED;
    if (byte < 0x80) at += 1;
    else {
      const length = sequenceLength(bytes, at, end);
      if (length === 0) return NOT_RECOGNISED;
      at += length;
    }
  }
  return NOT_RECOGNISED;
}

/** How many bytes the character of several bytes at `at` has; 0 when it is not UTF-8 (RFC 3629: no surrogates, nothing longer than needed). */
function sequenceLength(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at] as number;
  const length =
    lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > end) return 0;
  const second = bytes[at + 1] as number;
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return 0;
  for (let next = at + 2; next < at + length; next++) if (((bytes[next] as number) & 0xc0) !== 0x80) return 0;
  return length;
}
