import { ABSENT, ColumnText, SPARE } from "../text/column-text.ts";
import { utf8 } from "../text/utf8.ts";
import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  type JsonInput,
  NOT_RECOGNISED,
  OPEN_BRACE,
  OPEN_BRACKET,
  skipBlank,
} from "./json-input.ts";
import { readText } from "./json-text.ts";
import type { ValueScanner } from "./scan-values.ts";

/** Writes the column text of a value as JSON. */
export type ConvertedJson = (json: ColumnText, text: Uint8Array) => void;

/** The bytes that a value in a list may need in addition to its own and its key's: braces, commas, digits. */
export const SPARE_OF_VALUE = 64;

/** The most characters of a map's name, which is a field `text()`. */
const MOST_NAME = 256;

const KEY = utf8('{"key":');
const VALUE = utf8(',"value":');

/**
 * One entry: its name as written and as characters, and its value as JSON. Each is a span of positions in one of three
 * buffers.
 */
interface ScannedEntry {
  readonly written: readonly [from: number, to: number];
  readonly name: Uint8Array;
  readonly json: readonly [from: number, to: number];
}

interface MapOptions {
  readonly value: ValueScanner;
  readonly converted: ConvertedJson | null;
  readonly max: number;
  /** Whether the values are objects. Their fields are written next to the name. */
  readonly areObjects?: boolean;
}

/** Reads an object with free names. Writes a list of its entries as JSON, in the order of their names. */
export class MapEntries implements ValueScanner {
  readonly #value: ValueScanner;
  readonly #converted: ConvertedJson | null;
  readonly #max: number;
  readonly #areObjects: boolean;
  readonly #names = new ColumnText(1_024);
  /** The text that the column of a value would have. */
  readonly #column = new ColumnText(1_024);
  /** The values as JSON. */
  readonly #json = new ColumnText(1_024);

  constructor({ value, converted, max, areObjects = false }: MapOptions) {
    this.#value = value;
    this.#converted = converted;
    this.#max = max;
    this.#areObjects = areObjects;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    if (from >= input.end || input.bytes[from] !== OPEN_BRACE) return NOT_RECOGNISED;
    for (const text of [this.#names, this.#column, this.#json]) {
      text.end = 0;
      text.reserve(input.end - from + SPARE);
    }
    const entries: ScannedEntry[] = [];
    const to = this.#read(input, skipBlank(input, from + 1), entries);
    if (to < 0) return NOT_RECOGNISED;
    entries.sort((a, b) => Buffer.compare(a.name, b.name));
    // JSON.parse takes the last value of a repeated name.
    if (entries.some(({ name }, index) => index > 0 && Buffer.compare(name, entries[index - 1]?.name ?? name) === 0))
      return NOT_RECOGNISED;
    this.#write(input, entries, out);
    return to;
  }

  /** Reads the entries from the first name or the closing brace on. Returns the end of the object. */
  #read(input: JsonInput, from: number, entries: ScannedEntry[]): number {
    const { bytes, end } = input;
    if (from < end && bytes[from] === CLOSE_BRACE) return from + 1;
    for (let at = from; ; ) {
      if (entries.length === this.#max) return NOT_RECOGNISED;
      const begin = this.#names.end;
      const after = readText(input, at, MOST_NAME, this.#names);
      const colon = after < 0 ? end : skipBlank(input, after);
      if (colon >= end || bytes[colon] !== COLON) return NOT_RECOGNISED;
      const value = skipBlank(input, colon + 1);
      const to = value >= end ? NOT_RECOGNISED : this.#readValue(input, value);
      if (to < 0) return NOT_RECOGNISED;
      const [jsonFrom, jsonTo] = [entries.at(-1)?.json[1] ?? 0, this.#json.end];
      const name = this.#names.bytes.subarray(begin, this.#names.end);
      entries.push({ written: [at, after], name, json: [jsonFrom, jsonTo] });
      at = skipBlank(input, to);
      if (at >= end) return NOT_RECOGNISED;
      if (bytes[at] === CLOSE_BRACE) return at + 1;
      if (bytes[at] !== COMMA) return NOT_RECOGNISED;
      at = skipBlank(input, at + 1);
    }
  }

  #readValue(input: JsonInput, from: number): number {
    const [column, json] = [this.#column, this.#json];
    column.end = 0;
    const to = this.#value.scan(input, from, column);
    if (to < 0) return NOT_RECOGNISED;
    json.reserve(Math.max(to - from, column.end) + SPARE_OF_VALUE);
    if (this.#converted !== null && column.bytes[0] !== ABSENT)
      this.#converted(json, column.bytes.subarray(0, column.end));
    else json.write(input.bytes.subarray(from, to));
    return to;
  }

  #write({ bytes }: JsonInput, entries: readonly ScannedEntry[], out: ColumnText): void {
    out.reserve(this.#names.end * MOST_WRITTEN + this.#json.end + (entries.length + 1) * SPARE_OF_VALUE);
    out.bytes[out.end++] = OPEN_BRACKET;
    for (const [index, { written, json }] of entries.entries()) {
      if (index > 0) out.bytes[out.end++] = COMMA;
      out.write(KEY);
      out.write(bytes.subarray(...written));
      this.#writeValue(...json, out);
      out.bytes[out.end++] = CLOSE_BRACE;
    }
    out.bytes[out.end++] = CLOSE_BRACKET;
  }

  #writeValue(from: number, to: number, out: ColumnText): void {
    const { bytes } = this.#json;
    if (!this.#areObjects) {
      out.write(VALUE);
      out.write(bytes.subarray(from, to));
      return;
    }
    // The object's fields, without its braces.
    if (to - from > 2) out.bytes[out.end++] = COMMA;
    out.write(bytes.subarray(from + 1, to - 1));
  }
}

/** An escape has at most six bytes for each byte of the character. */
const MOST_WRITTEN = 6;
