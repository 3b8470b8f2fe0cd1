import avsc, { type Type } from "avsc";
import { type ColumnText, FIRST_PRINTABLE, isHeldByColumns, SPARE } from "../text/column-text.ts";
import { matches, utf8 } from "../text/utf8.ts";
import { type AvroInput, blockSize, plainSequence } from "./avro-input.ts";
import type { NullableType } from "./avro-types.ts";

const { types } = avsc;

/**
 * Reads one value of the writer's type, and returns whether it was recognised. Writes the text of the column, or of a
 * list's JSON.
 */
export interface ValueReader {
  read(input: AvroInput, out: ColumnText): boolean;
}

/** Whether a value is written inside a list's JSON. Otherwise it is the text of a column's row. */
export type InJson = boolean;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export class PlainText implements ValueReader {
  readonly #max: number;
  readonly #inJson: InJson;

  constructor(max: number, inJson: InJson) {
    this.#max = max;
    this.#inJson = inJson;
  }

  read(input: AvroInput, out: ColumnText): boolean {
    const length = input.length();
    // A UTF-16 unit has three bytes at most.
    if (length < 0 || length > 3 * this.#max) return false;
    if (!this.#inJson) return copyText(input, length, out, false) <= this.#max;
    out.bytes[out.end++] = QUOTE;
    const isCopied = copyText(input, length, out, true) <= this.#max;
    out.bytes[out.end++] = QUOTE;
    return isCopied;
  }
}

/** Copies a text of `length` bytes. Returns its number of UTF-16 units, or NaN if the text is not recognised. */
function copyText(input: AvroInput, length: number, out: ColumnText, isEscaped: boolean): number {
  const { bytes } = input;
  const target = out.bytes;
  const end = input.at + length;
  let units = length;
  let written = out.end;
  let at = input.at;
  while (at < end) {
    const byte = bytes[at] as number;
    if (byte < 0x80) {
      if (byte < FIRST_PRINTABLE && (isEscaped || !isHeldByColumns(byte))) return Number.NaN;
      if (isEscaped && (byte === QUOTE || byte === BACKSLASH)) target[written++] = BACKSLASH;
      target[written++] = byte;
      at += 1;
    } else {
      const size = plainSequence(bytes, at, end);
      if (size === 0) return Number.NaN;
      units -= size === 2 ? 1 : 2;
      for (const next = at + size; at < next; at++) target[written++] = bytes[at] as number;
    }
  }
  input.at = at;
  out.end = written;
  return units;
}

/** Whether a column can hold a text unchanged. */
function isSayable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\ufffd") && [...text].every((one) => one >= " ") && text.length < SPARE;
}

export class OneOf implements ValueReader {
  readonly #values: readonly { readonly is: Uint8Array; readonly written: Uint8Array }[];

  constructor(values: readonly string[], inJson: InJson) {
    this.#values = values
      .filter(isSayable)
      .map((value) => ({ is: utf8(value), written: utf8(inJson ? JSON.stringify(value) : value) }));
  }

  read(input: AvroInput, out: ColumnText): boolean {
    const length = input.length();
    for (const { is, written } of this.#values) {
      if (is.length === length && matches(input.bytes, input.at, is)) {
        input.at += length;
        out.write(written);
        return true;
      }
    }
    return false;
  }
}

export function symbolReader(type: Type, isAllowed: (symbol: string) => boolean, inJson: InJson): ValueReader | null {
  if (!(type instanceof types.EnumType)) return null;
  const texts = type.symbols.map((symbol) =>
    isAllowed(symbol) && isSayable(symbol) ? utf8(inJson ? JSON.stringify(symbol) : symbol) : null,
  );
  return {
    read: (input, out) => {
      const text = texts[input.long()] ?? null;
      if (text !== null) out.write(text);
      return text !== null;
    },
  };
}

const FLAGS = [utf8("false"), utf8("true")];

export class Flag implements ValueReader {
  read(input: AvroInput, out: ColumnText): boolean {
    const text = FLAGS[input.byte()];
    if (text !== undefined) out.write(text);
    return text !== undefined;
  }
}

export class Nullable implements ValueReader {
  readonly #of: ValueReader;
  readonly #branch: NullableType;
  /** The text that is written for null. Null if the contract refuses null. */
  readonly #nothing: Uint8Array | null;

  constructor(of: ValueReader, branch: NullableType, nothing: Uint8Array | null) {
    this.#of = of;
    this.#branch = branch;
    this.#nothing = nothing;
  }

  read(input: AvroInput, out: ColumnText): boolean {
    const branch = input.byte();
    if (branch === this.#branch.value) return this.#of.read(input, out);
    if (branch !== this.#branch.nothing || this.#nothing === null) return false;
    out.write(this.#nothing);
    return true;
  }
}

const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;

/** Reads a field of a record. */
export interface FieldReader {
  readonly name: string;
  readonly reader: ValueReader;
  readonly isPassedOver: boolean;
}

interface ElementField {
  /** The bytes before the value. Empty for a field that is passed over. */
  readonly prefix: Uint8Array;
  readonly reader: ValueReader;
}

/** Reads a list of the values that `of` reads, and writes JSON. */
export class Elements implements ValueReader {
  readonly #of: ValueReader & { readonly spare?: number };
  readonly #max: number;

  constructor(of: ValueReader & { readonly spare?: number }, max: number) {
    this.#of = of;
    this.#max = max;
  }

  read(input: AvroInput, out: ColumnText): boolean {
    const { spare = SPARE } = this.#of;
    out.bytes[out.end++] = OPEN_BRACKET;
    let count = 0;
    for (let size = blockSize(input); size !== 0; size = blockSize(input)) {
      if (!(size <= this.#max - count)) return false;
      for (let left = size; left > 0; left--) {
        out.reserve(spare + 2 * (input.end - input.at));
        if (count > 0) out.bytes[out.end++] = COMMA;
        if (!this.#of.read(input, out)) return false;
        count += 1;
      }
    }
    out.bytes[out.end++] = CLOSE_BRACKET;
    return true;
  }
}

/** Reads a record and writes it as JSON, without the fields that are passed over. */
export class RecordJson implements ValueReader {
  readonly #fields: readonly ElementField[];
  /** The space that its JSON may need in addition to twice its bytes. */
  readonly spare: number;

  constructor(fields: readonly FieldReader[]) {
    const [first] = fields.filter(({ isPassedOver }) => !isPassedOver);
    this.#fields = fields.map((field) => ({
      prefix: field.isPassedOver ? NO_BYTES : utf8(`${field === first ? "" : ","}${JSON.stringify(field.name)}:`),
      reader: field.reader,
    }));
    this.spare = (fields.length + 1) * SPARE;
  }

  read(input: AvroInput, out: ColumnText): boolean {
    out.bytes[out.end++] = OPEN_BRACE;
    for (let index = 0; index < this.#fields.length; index++) {
      const { prefix, reader } = this.#fields[index] as ElementField;
      out.write(prefix);
      if (!reader.read(input, out)) return false;
    }
    out.bytes[out.end++] = CLOSE_BRACE;
    return true;
  }
}

const NO_BYTES = new Uint8Array(0);
