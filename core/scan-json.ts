import { ABSENT, ColumnText, FIRST_PRINTABLE, SPARE } from "./column-text.ts";
import type { FieldSpec } from "./fields.ts";
import { matches, sequenceLength, utf8 } from "./utf8.ts";

/** The JSON that is recognised, byte by byte. */

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
const NOT_RECOGNISED = -1;

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
export class ObjectScanner {
  readonly columns: readonly ColumnText[];
  readonly #keys: readonly Uint8Array[];
  readonly #values: readonly ValueScanner[];
  readonly #required: readonly number[];
  /** The object in which each field was last seen. */
  readonly #seen: Float64Array;
  #object = 0;
  /** How many fields that one has so far. */
  #count = 0;
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

  get hasAll(): boolean {
    return this.#count === this.#keys.length;
  }

  /** Reads one object and what is blank around it, up to `end`: whether it has all that it needs. */
  scanWhole(bytes: Uint8Array, from: number, end: number): boolean {
    const after = this.scan(bytes, skipBlank(bytes, from, end), end);
    return after >= 0 && skipBlank(bytes, after, end) === end && this.isComplete();
  }

  isComplete(): boolean {
    for (const field of this.#required) if (this.#seen[field] !== this.#object) return false;
    return true;
  }

  /** Reads one object from its brace on: where it ends, or NOT_RECOGNISED. */
  scan(bytes: Uint8Array, from: number, end: number): number {
    this.#object += 1;
    this.#count = 0;
    if (from >= end || bytes[from] !== OPEN_BRACE) return NOT_RECOGNISED;
    let at = skipBlank(bytes, from + 1, end);
    if (at < end && bytes[at] === CLOSE_BRACE) return at + 1;
    for (let before = this.#keys.length; ; ) {
      const field = this.#field(bytes, at, end, before);
      if (field < 0 || this.#seen[field] === this.#object) return NOT_RECOGNISED;
      this.#seen[field] = this.#object;
      this.#count += 1;
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
