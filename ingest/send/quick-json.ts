import { ObjectScanner } from "../../core/codec/json/scan-json.ts";
import { type ColumnText, SPARE } from "../../core/codec/text/column-text.ts";
import { bare } from "../../core/contract/fields.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { partOf } from "../../core/contract/wire.ts";
import { quickMembers } from "../read/json-members.ts";
import { type Column, columnOf } from "./column-writers.ts";
import type { ValueForms } from "./value-forms.ts";

/** Types of fields whose column has the same text as Kafka's key. */
const SAID_BY_COLUMN: ReadonlySet<string> = new Set(["text", "oneOf", "integer", "instant", "flag"]);

/** Every column can hold the whole text, so this bounds memory. */
const MOST_BYTES = 256 * 1024;

const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const QUOTE = 0x22;
const ZERO = 0x30;

/** A fast way for JSON events. It accepts fewer events than the contract, never more, and writes the same values. */
export class QuickJson {
  readonly #scanner: ObjectScanner;
  readonly #keyColumn: ColumnText;
  /** By field: the column of a field whose value may be written as a text. */
  readonly #columns: ReadonlyMap<string, Column>;
  readonly #missing: ReadonlySet<string>;

  private constructor(scanner: ObjectScanner, keyColumn: ColumnText, stream: Stream, forms: ValueForms) {
    this.#scanner = scanner;
    this.#keyColumn = keyColumn;
    this.#columns = new Map(
      Object.entries(stream.fields).map(([name, field]) => [name, columnOf(name, field, stream.key, forms)]),
    );
    this.#missing = forms.missing;
  }

  /** Returns null for streams whose keys it cannot find. */
  static of(stream: Stream, forms: ValueForms): QuickJson | null {
    const specs = Object.entries(stream.fields).map(([name, { spec }]) => [name, spec] as const);
    const index = specs.findIndex(([name]) => name === stream.key);
    const spec = specs[index]?.[1];
    if (spec === undefined || !SAID_BY_COLUMN.has(bare(spec).type)) return null;
    if (specs.some(([, one]) => partOf(one) !== null)) return null;
    const scanner = new ObjectScanner(Object.fromEntries(specs));
    const keyColumn = scanner.columns[index];
    return keyColumn === undefined ? null : new QuickJson(scanner, keyColumn, stream, forms);
  }

  /** Returns the key of an event that the contract accepts as it is; null if that is not certain. */
  keyOf(json: Buffer): string | null {
    if (json.length > MOST_BYTES) return null;
    for (const column of this.#scanner.columns) {
      column.end = 0;
      column.reserve(json.length + SPARE);
    }
    if (!this.#scanner.scanWhole(json, 0, json.length)) return null;
    const { bytes, end } = this.#keyColumn;
    return Buffer.from(bytes.buffer, bytes.byteOffset, end).toString();
  }

  /**
   * Returns the event with values, such as times, converted to the contract's form. Returns null if there is nothing to
   * convert, or a value that the fast way cannot convert.
   */
  converted(json: Buffer): Buffer | null {
    const members = quickMembers(json);
    if (members === null) return null;
    let [text, copied] = ["", 0];
    for (const { name, value, to } of members) {
      const column = this.#columns.get(name);
      if (column === undefined) continue;
      const written = this.#rewritten(json, value, to, column);
      if (written === null) return null;
      if (written === "") continue;
      text += json.toString("latin1", copied, value) + written;
      copied = to;
    }
    return copied === 0 ? null : Buffer.from(text + json.toString("latin1", copied), "latin1");
  }

  /** Returns a value in the contract's form; "" if it stays as it is, null if the fast way cannot convert it. */
  #rewritten(json: Buffer, from: number, to: number, { field, write }: Column): string | null {
    const first = json[from] as number;
    const isText = first === QUOTE;
    if (!isText && first !== MINUS && (first < ZERO || first > ZERO + 9)) return "";
    const cell = json.toString("utf8", isText ? from + 1 : from, isText ? to - 1 : to);
    if (this.#missing.size > 0 && this.#missing.has(cell)) return null;
    const { type } = bare(field.spec);
    // A number for a text field is left to the thorough way.
    if (type === "text" || type === "oneOf") return isText ? "" : null;
    if (!isText && (type === "integer" || type === "decimal")) return "";
    if (isText && json.subarray(from, to).includes(BACKSLASH)) return null;
    const written = write(cell);
    return !isText && written === cell ? "" : written;
  }
}
