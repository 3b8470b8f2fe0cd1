import type { FieldSpec } from "../../contract/field.ts";
import { bare } from "../../contract/fields.ts";
import type { WirePath } from "../../contract/record/wire-path.ts";
import { isConverted, partOf, pathOf } from "../../contract/wire.ts";
import { parseBound } from "../../time.ts";
import { ABSENT, ColumnText, SPARE } from "../text/column-text.ts";
import { matches, utf8 } from "../text/utf8.ts";
import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  JsonInput,
  NOT_RECOGNISED,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  skipBlank,
} from "./json-input.ts";
import { ENDED, JsonKeys, UNDECLARED } from "./json-keys.ts";
import { skipValue } from "./json-skip.ts";
import { AnyCase, flagTexts, Scalar, TextOrWhole, Uuid, WrittenDecimal } from "./scan-conversions.ts";
import { WrittenInstant } from "./scan-instants.ts";
import { type ConvertedJson, MapEntries, SPARE_OF_VALUE } from "./scan-map.ts";
import { Literals, Nullable, OneOf, PlainText, ScaledNumber, type ValueScanner, WholeNumber } from "./scan-values.ts";

/** Reads an object in a list or a map, and writes the declared fields as JSON. */
class ObjectJson implements ValueScanner {
  readonly #object: ObjectScanner;

  constructor(fields: Readonly<Record<string, FieldSpec>>) {
    this.#object = new ObjectScanner(fields);
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    for (const column of this.#object.columns) {
      column.end = 0;
      column.reserve(input.end - from + SPARE);
    }
    const to = this.#object.scan(input, from, out);
    return to >= 0 && this.#object.isComplete() ? to : NOT_RECOGNISED;
  }
}

/** Reads a list of objects. It is recognised if all of its elements are. */
class Elements implements ValueScanner {
  readonly #element: ObjectJson;
  readonly #max: number;

  constructor(fields: Readonly<Record<string, FieldSpec>>, max: number) {
    this.#element = new ObjectJson(fields);
    this.#max = max;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    const { bytes, end } = input;
    if (bytes[from] !== OPEN_BRACKET) return NOT_RECOGNISED;
    out.bytes[out.end++] = OPEN_BRACKET;
    let at = skipBlank(input, from + 1);
    const isEmpty = at < end && bytes[at] === CLOSE_BRACKET;
    for (let count = 1; !isEmpty; count++) {
      if (count > this.#max) return NOT_RECOGNISED;
      at = this.#element.scan(input, at, out);
      if (at < 0) return NOT_RECOGNISED;
      at = skipBlank(input, at);
      if (at >= end) return NOT_RECOGNISED;
      if (bytes[at] === CLOSE_BRACKET) break;
      if (bytes[at] !== COMMA) return NOT_RECOGNISED;
      out.bytes[out.end++] = COMMA;
      at = skipBlank(input, at + 1);
    }
    out.bytes[out.end++] = CLOSE_BRACKET;
    return at + 1;
  }
}

/** Reads a list of values, and writes it as JSON. It is recognised if all of its elements are. */
class Values implements ValueScanner {
  readonly #value: ValueScanner;
  readonly #converted: ConvertedJson | null;
  readonly #max: number;
  /** The text that the value's column would have. */
  readonly #column = new ColumnText(1_024);

  constructor(of: FieldSpec, max: number) {
    this.#value = scannerOf(of);
    this.#converted = valueJson(of);
    this.#max = max;
  }

  scan(input: JsonInput, from: number, out: ColumnText): number {
    const { bytes, end } = input;
    if (bytes[from] !== OPEN_BRACKET) return NOT_RECOGNISED;
    out.bytes[out.end++] = OPEN_BRACKET;
    let at = skipBlank(input, from + 1);
    const isEmpty = at < end && bytes[at] === CLOSE_BRACKET;
    this.#column.reserve(end - from + SPARE);
    for (let count = 1; !isEmpty; count++) {
      if (count > this.#max) return NOT_RECOGNISED;
      this.#column.end = 0;
      const to = this.#value.scan(input, at, this.#column);
      if (to < 0) return NOT_RECOGNISED;
      this.#write(input, at, to, out);
      at = skipBlank(input, to);
      if (at >= end) return NOT_RECOGNISED;
      if (bytes[at] === CLOSE_BRACKET) break;
      if (bytes[at] !== COMMA) return NOT_RECOGNISED;
      out.bytes[out.end++] = COMMA;
      at = skipBlank(input, at + 1);
    }
    out.bytes[out.end++] = CLOSE_BRACKET;
    return at + 1;
  }

  #write({ bytes }: JsonInput, from: number, to: number, out: ColumnText): void {
    out.reserve(to - from + SPARE_OF_VALUE);
    if (this.#converted !== null) this.#converted(out, this.#column.bytes.subarray(0, this.#column.end));
    else for (let at = from; at < to; at++) out.bytes[out.end++] = bytes[at] as number;
  }
}

const NULL = utf8("null");
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The field of a key that makes the object not recognised. */
const FOREIGN = -1;

/** An object on the path to fields: its keys, and for each of them a field, FOREIGN, or an object inside it. */
class Nested {
  readonly names: string[] = [];
  readonly targets: (number | Nested)[] = [];
  /** The number of the record in which the object was last seen. */
  seen = 0;
  #keys: JsonKeys | null = null;

  get keys(): JsonKeys {
    this.#keys ??= new JsonKeys(this.names);
    return this.#keys;
  }

  add([name = "", ...rest]: WirePath, field: number): void {
    const at = this.names.indexOf(name);
    const held = this.targets[at];
    if (rest.length === 0) {
      if (held === undefined) this.#put(name, field);
      return;
    }
    if (held instanceof Nested) held.add(rest, field);
    else if (held === undefined) {
      const inner = new Nested();
      inner.add(rest, field);
      this.#put(name, inner);
    }
  }

  #put(name: string, target: number | Nested): void {
    this.names.push(name);
    this.targets.push(target);
  }
}

/**
 * Reads an object with the fields of a contract in any order, each at most once, in itself or in objects inside it.
 * Other fields are skipped, as zod does. But an object that has something at one of the `foreign` paths is not
 * recognised.
 */
export class ObjectScanner {
  readonly columns: readonly ColumnText[];
  readonly #input = new JsonInput();
  readonly #root = new Nested();
  /** For each field, the JSON before its value. */
  readonly #prefixes: readonly Uint8Array[];
  readonly #values: readonly ValueScanner[];
  /** For each field whose column has another form than the record, the function that writes it as JSON. */
  readonly #converted: readonly (ConvertedJson | null)[];
  readonly #required: readonly number[];
  /** The number of the object in which each field was last seen. */
  readonly #seen: Float64Array;
  #object = 0;
  /** The number of fields that the current object has so far. */
  #count = 0;

  constructor(fields: Readonly<Record<string, FieldSpec>>, foreign: Iterable<WirePath> = []) {
    const specs = Object.entries(fields);
    const names = specs.map(([name]) => name);
    this.columns = specs.map(() => new ColumnText(1_024));
    for (const [index, [name, spec]] of specs.entries()) {
      const path = pathOf(name, spec);
      if (path !== null) this.#root.add(path, index);
    }
    for (const path of foreign) this.#root.add(path, FOREIGN);
    this.#prefixes = names.map((name) => utf8(`${JSON.stringify(name)}:`));
    this.#values = specs.map(([, spec]) => scannerOf(spec));
    this.#converted = specs.map(([, spec]) => valueJson(spec));
    this.#required = specs.flatMap(([, spec], index) =>
      spec.type === "optional" || spec.type === "default" || partOf(spec) !== null ? [] : [index],
    );
    this.#seen = new Float64Array(specs.length);
  }

  has(field: number): boolean {
    return this.#seen[field] === this.#object;
  }

  get hasAll(): boolean {
    return this.#count === this.#values.length;
  }

  /** Reads one object and the blanks around it, up to `end`. Returns whether it has all required fields. */
  scanWhole(bytes: Uint8Array, from: number, end: number): boolean {
    const input = this.#input;
    input.set(bytes, end);
    const after = this.scan(input, skipBlank(input, from), null);
    return after >= 0 && skipBlank(input, after) === end && this.isComplete();
  }

  /**
   * Reads the JSON of a field that is in another part of the record than its value. Call it after `scanWhole`. Returns
   * whether the field is recognised.
   */
  scanPart(field: number, json: Uint8Array): boolean {
    const column = this.columns[field] as ColumnText;
    column.reserve(json.length + SPARE);
    this.#input.set(json, json.length);
    return this.#declared(this.#input, field, 0, null) === json.length;
  }

  /** Whether the record's value has all required fields. */
  isComplete(): boolean {
    for (const field of this.#required) if (this.#seen[field] !== this.#object) return false;
    return true;
  }

  /**
   * Reads one object from its brace on. Returns its end, or NOT_RECOGNISED. Writes its declared fields to `json` as
   * JSON.
   */
  scan(input: JsonInput, from: number, json: ColumnText | null): number {
    this.#object += 1;
    this.#count = 0;
    if (json !== null) json.bytes[json.end++] = OPEN_BRACE;
    const after = this.#scan(this.#root, input, from, json);
    if (json !== null) json.bytes[json.end++] = CLOSE_BRACE;
    return after;
  }

  #scan(object: Nested, input: JsonInput, from: number, json: ColumnText | null): number {
    const { bytes, end } = input;
    const { keys, targets } = object;
    if (from >= end || bytes[from] !== OPEN_BRACE) return NOT_RECOGNISED;
    let at = from;
    for (let before = keys.none; ; ) {
      const key = keys.find(input, at, before);
      if (key === null) return NOT_RECOGNISED;
      before = key;
      if (key.field === UNDECLARED) at = skipValue(input, keys.value);
      else if (key.field === ENDED) break;
      else {
        const target = targets[key.field] as number | Nested;
        at =
          typeof target === "number"
            ? this.#declared(input, target, keys.value, json)
            : this.#further(target, input, keys.value, json);
      }
      if (at < 0) return NOT_RECOGNISED;
    }
    return keys.value;
  }

  /** Reads an object on the path, or null in its place. */
  #further(target: Nested, input: JsonInput, from: number, json: ColumnText | null): number {
    if (target.seen === this.#object) return NOT_RECOGNISED;
    target.seen = this.#object;
    if (input.bytes[from] === OPEN_BRACE) return this.#scan(target, input, from, json);
    return from + NULL.length <= input.end && matches(input.bytes, from, NULL) ? from + NULL.length : NOT_RECOGNISED;
  }

  /** Reads the value of a field. Returns its end, or NOT_RECOGNISED. */
  #declared(input: JsonInput, field: number, from: number, json: ColumnText | null): number {
    if (field < 0 || this.#seen[field] === this.#object) return NOT_RECOGNISED;
    const column = this.columns[field] as ColumnText;
    const written = column.end;
    const to = (this.#values[field] as ValueScanner).scan(input, from, column);
    if (to >= 0 && json !== null) {
      const prefix = this.#prefixes[field] as Uint8Array;
      // It may need more bytes than in the record: another name, or digits of another unit.
      json.reserve(prefix.length + (to - from) + SPARE_OF_VALUE);
      if (this.#count > 0) json.bytes[json.end++] = COMMA;
      json.write(prefix);
      const converted = this.#converted[field] as ConvertedJson | null;
      if (converted !== null && column.bytes[written] !== ABSENT)
        converted(json, column.bytes.subarray(written, column.end));
      else for (let at = from; at < to; at++) json.bytes[json.end++] = input.bytes[at] as number;
    }
    this.#seen[field] = this.#object;
    this.#count += 1;
    return to;
  }
}

/** Returns the function that writes a field's value as JSON. Null where the record's form is the column's. */
function valueJson(spec: FieldSpec): ConvertedJson | null {
  return isConverted(spec) ? convertedJson(bare(spec)) : null;
}

function convertedJson(spec: ReturnType<typeof bare>): ConvertedJson {
  if (spec.type === "text" && spec.as === "scalar")
    return (json, text) => json.write(utf8(JSON.stringify(decoder.decode(text))));
  if (spec.type === "decimal")
    return (json, text) => json.writeScaled(Number(String.fromCharCode(...text)), spec.scale);
  if (spec.type !== "text" && spec.type !== "oneOf") return (json, text) => json.write(text);
  // Neither has a character that JSON escapes.
  return (json, text) => {
    json.bytes[json.end++] = QUOTE;
    json.write(text);
    json.bytes[json.end++] = QUOTE;
  };
}

/** `ObjectJson` writes JSON already. */
const asItIs: ConvertedJson = (json, text) => json.write(text);

function scannerOf(spec: FieldSpec): ValueScanner {
  switch (spec.type) {
    case "integer":
      return spec.as === undefined ? new WholeNumber(spec.min, spec.max) : new TextOrWhole({ ...spec, as: spec.as });
    case "instant": {
      const [min, max] = [parseBound(spec.from), parseBound(spec.to)];
      return spec.as === undefined
        ? new WholeNumber(min, max)
        : new WrittenInstant({ as: spec.as, zone: spec.zone ?? null, min, max });
    }
    case "decimal":
      return isConverted(spec) ? new WrittenDecimal(spec) : new ScaledNumber(spec.scale, spec.min, spec.max);
    case "text":
      return spec.as === "uuid" ? new Uuid() : spec.as === "scalar" ? new Scalar(spec.max) : new PlainText(spec.max);
    case "oneOf":
      return spec.as === "any-case" ? new AnyCase(spec.values) : new OneOf(spec.values);
    case "flag":
      return spec.as === "text" ? flagTexts() : new Literals({ true: "true", false: "false" });
    case "list":
      return new Elements(spec.of, spec.max);
    case "values":
      return new Values(spec.of, spec.max);
    case "map":
      return new MapEntries({ value: scannerOf(spec.of), converted: valueJson(spec.of), max: spec.max });
    case "entries":
      return new MapEntries({ value: new ObjectJson(spec.of), converted: asItIs, max: spec.max, areObjects: true });
    case "optional":
      return new Nullable(scannerOf(spec.of));
    case "default":
      return scannerOf(spec.of);
  }
}
