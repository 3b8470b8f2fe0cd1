import { ABSENT, type ColumnText } from "../text/column-text.ts";
import { matches, utf8 } from "../text/utf8.ts";
import { DOT, type JsonInput, MINUS, NOT_RECOGNISED, ZERO } from "./json-input.ts";
import { readText } from "./json-text.ts";

/** The scanners of a contract's JSON values, byte by byte. */

/**
 * Reads one value. Returns its end, or NOT_RECOGNISED. Writes a recognised value to `out`, which has room for the whole
 * record.
 */
export interface ValueScanner {
  scan(input: JsonInput, from: number, out: ColumnText): number;
}

export class WholeNumber implements ValueScanner {
  readonly #min: number;
  readonly #max: number;

  constructor(min: number, max: number) {
    this.#min = min;
    this.#max = max;
  }

  scan({ bytes, end }: JsonInput, from: number, out: ColumnText): number {
    const negative = bytes[from] === MINUS;
    const first = negative ? from + 1 : from;
    const target = out.bytes;
    let written = out.end;
    if (negative) target[written++] = MINUS;
    let value = 0;
    let at = first;
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      if (byte < ZERO || byte > ZERO + 9) break;
      value = value * 10 + (byte - ZERO);
      target[written++] = byte;
    }
    const digits = at - first;
    if (digits === 0 || digits > 16 || (bytes[first] === ZERO && (digits > 1 || negative))) return NOT_RECOGNISED;
    // A double cannot tell all numbers of sixteen digits apart, but those are beyond every bound.
    if (negative) value = -value;
    if (value < this.#min || value > this.#max) return NOT_RECOGNISED;
    out.end = written;
    return at;
  }
}

export class ScaledNumber implements ValueScanner {
  readonly #scale: number;
  readonly #min: number;
  readonly #max: number;

  constructor(scale: number, min: number, max: number) {
    this.#scale = scale;
    this.#min = Math.round(min * 10 ** scale);
    this.#max = Math.round(max * 10 ** scale);
  }

  scan({ bytes, end }: JsonInput, from: number, out: ColumnText): number {
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

export class PlainText implements ValueScanner {
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    return readText(input, from, this.#max, out);
  }
}

export class OneOf implements ValueScanner {
  readonly #values: readonly Uint8Array[];

  constructor(values: readonly string[]) {
    // A lone surrogate has no UTF-8: it would become the bytes of U+FFFD.
    this.#values = values.filter((value) => value.isWellFormed()).map(utf8);
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    const begin = out.end;
    const after = readText(input, from, Number.POSITIVE_INFINITY, out);
    if (after < 0) return NOT_RECOGNISED;
    for (const value of this.#values)
      if (value.length === out.end - begin && matches(out.bytes, begin, value)) return after;
    return NOT_RECOGNISED;
  }
}

export class Literals implements ValueScanner {
  readonly #literals: readonly { readonly json: Uint8Array; readonly written: Uint8Array }[];

  constructor(literals: Readonly<Record<string, string>>) {
    this.#literals = Object.entries(literals).map(([json, written]) => ({ json: utf8(json), written: utf8(written) }));
  }

  scan({ bytes, end }: JsonInput, from: number, out: ColumnText): number {
    for (const { json, written } of this.#literals) {
      if (from + json.length <= end && matches(bytes, from, json)) {
        out.write(written);
        return from + json.length;
      }
    }
    return NOT_RECOGNISED;
  }
}

/** Reads a value of `of`, or null. */
export class Nullable implements ValueScanner {
  readonly #of: ValueScanner;
  readonly #null = new Literals({ null: String.fromCharCode(ABSENT) });

  constructor(of: ValueScanner) {
    this.#of = of;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    return input.bytes[from] === 0x6e ? this.#null.scan(input, from, out) : this.#of.scan(input, from, out);
  }
}
