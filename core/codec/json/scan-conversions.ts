import {
  base64Units,
  decimalUnits,
  FLAG_TEXTS,
  integerOfText,
  lowerCase,
  type NumberText,
  type Rounding,
  uuidOf,
} from "../../contract/record/record-value.ts";
import type { ColumnText } from "../text/column-text.ts";
import { utf8 } from "../text/utf8.ts";
import { BACKSLASH, DOT, type JsonInput, MINUS, NOT_RECOGNISED, QUOTE, ZERO } from "./json-input.ts";
import { readText } from "./json-text.ts";
import { Literals, type ValueScanner, WholeNumber } from "./scan-values.ts";

/** Scanners of values that records write in another form than JSON's (core/contract/record/record-value.ts). */

/** The most bytes of such a value that is recognised. Every valid one is shorter. */
const MOST_BYTES = 40;
/** The most characters of a JSON number that every reader reads exactly as written. */
const MOST_NUMBER = 15;

/**
 * Returns the text between the quotes at `from`. Null if it has no end within `MOST_BYTES`, an escape, or anything but
 * ASCII.
 */
export function shortText({ bytes, end }: JsonInput, from: number): string | null {
  let text = "";
  for (let at = from + 1; at < end && at <= from + MOST_BYTES; at++) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) return text;
    if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return null;
    text += String.fromCharCode(byte);
  }
  return null;
}

function numberText({ bytes, end }: JsonInput, from: number): string {
  let at = from;
  while (at < end && at - from <= MOST_NUMBER && isNumberByte(bytes[at] as number)) at += 1;
  return String.fromCharCode(...bytes.subarray(from, at));
}

function isNumberByte(byte: number): boolean {
  return (byte >= ZERO && byte <= ZERO + 9) || byte === MINUS || byte === DOT;
}

/** Reads a whole number, or a text of one. */
export class TextOrWhole implements ValueScanner {
  readonly #number: WholeNumber;
  readonly #ofText: (text: string) => number | null;
  readonly #min: number;
  readonly #max: number;

  constructor({ min, max, as }: { readonly min: number; readonly max: number; readonly as: NumberText }) {
    this.#number = new WholeNumber(min, max);
    this.#ofText = as === "base64" ? base64Units : integerOfText;
    this.#min = min;
    this.#max = max;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    if (input.bytes[from] !== QUOTE) return this.#number.scan(input, from, out);
    const text = shortText(input, from);
    const value = text === null ? null : this.#ofText(text);
    if (text === null || value === null || value < this.#min || value > this.#max) return NOT_RECOGNISED;
    out.writeWhole(value);
    return from + text.length + 2;
  }
}

/** Reads a decimal number, or a text of one, in units of its last place. */
export class WrittenDecimal implements ValueScanner {
  readonly #scale: number;
  readonly #rounding: Rounding | null;
  readonly #as: NumberText | null;
  readonly #min: number;
  readonly #max: number;

  constructor(spec: {
    readonly scale: number;
    readonly min: number;
    readonly max: number;
    readonly as?: NumberText;
    readonly round?: Rounding;
  }) {
    this.#scale = spec.scale;
    this.#rounding = spec.round ?? null;
    this.#as = spec.as ?? null;
    this.#min = Math.round(spec.min * 10 ** spec.scale);
    this.#max = Math.round(spec.max * 10 ** spec.scale);
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    const isQuoted = input.bytes[from] === QUOTE;
    const text = !isQuoted ? numberText(input, from) : this.#as === null ? null : shortText(input, from);
    if (text === null || (!isQuoted && text.length > MOST_NUMBER)) return NOT_RECOGNISED;
    const units =
      isQuoted && this.#as === "base64" ? base64Units(text) : decimalUnits(text, this.#scale, this.#rounding);
    if (units === null || units < this.#min || units > this.#max) return NOT_RECOGNISED;
    out.writeWhole(units);
    return from + text.length + (isQuoted ? 2 : 0);
  }
}

const WHOLE = /^-?[1-9]\d*$|^0$/;
const FRACTION = /^-?(?:0|[1-9]\d*)\.\d*[1-9]$/;

/** Reads a text, a number or a boolean, and writes its text (`scalarText`). */
export class Scalar implements ValueScanner {
  readonly #max: number;
  readonly #booleans = new Literals({ true: "true", false: "false" });

  constructor(max: number) {
    this.#max = max;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    const { bytes, end } = input;
    const first = bytes[from] as number;
    if (first === QUOTE) return readText(input, from, this.#max, out);
    if (!isNumberByte(first))
      return this.#max < "false".length ? NOT_RECOGNISED : this.#booleans.scan(input, from, out);
    let at = from;
    while (at < end && at - from <= MOST_BYTES && isNumberByte(bytes[at] as number)) at += 1;
    const text = String.fromCharCode(...bytes.subarray(from, at));
    // Whole numbers of any length are read from their text, others as doubles.
    const isExact = WHOLE.test(text) || (text.length <= MOST_NUMBER && FRACTION.test(text));
    if (!isExact || text.length > Math.min(this.#max, MOST_BYTES)) return NOT_RECOGNISED;
    for (let digit = 0; digit < text.length; digit++) out.bytes[out.end++] = text.charCodeAt(digit);
    return at;
  }
}

/** Reads true, false, 0, 1, or a text of one of these. */
export function flagTexts(): ValueScanner {
  const texts = Object.entries(FLAG_TEXTS).map(([text, value]) => [`"${text}"`, String(value)] as const);
  return new Literals({ true: "true", false: "false", "0": "false", "1": "true", ...Object.fromEntries(texts) });
}

/** Reads one of some texts in upper or lower case, and writes it as the contract has it. */
export class AnyCase implements ValueScanner {
  readonly #values: ReadonlyMap<string, Uint8Array>;

  constructor(values: readonly string[]) {
    this.#values = new Map(values.map((value) => [lowerCase(value), utf8(value)]));
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    const text = input.bytes[from] === QUOTE ? shortText(input, from) : null;
    const value = text === null ? undefined : this.#values.get(lowerCase(text));
    if (text === null || value === undefined) return NOT_RECOGNISED;
    out.write(value);
    return from + text.length + 2;
  }
}

/** Reads a UUID, and writes it in lower case. */
export class Uuid implements ValueScanner {
  scan(input: JsonInput, from: number, out: ColumnText): number {
    const text = input.bytes[from] === QUOTE ? shortText(input, from) : null;
    const uuid = text === null ? null : uuidOf(text);
    if (text === null || uuid === null) return NOT_RECOGNISED;
    for (let at = 0; at < uuid.length; at++) out.bytes[out.end++] = uuid.charCodeAt(at);
    return from + text.length + 2;
  }
}
