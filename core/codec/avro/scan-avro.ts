import avsc, { type Type } from "avsc";
import type { FieldSpec } from "../../contract/field.ts";
import { bare } from "../../contract/fields.ts";
import type { Version } from "../../contract/stream.ts";
import { parseBound } from "../../time.ts";
import { type BodyScanner, specsOf } from "../decode/scan.ts";
import { ABSENT, ColumnText } from "../text/column-text.ts";
import { utf8 } from "../text/utf8.ts";
import { AvroInput } from "./avro-input.ts";
import { numberReader } from "./avro-numbers.ts";
import { passOverField } from "./avro-pass-over.ts";
import { nullableOf } from "./avro-types.ts";
import {
  Elements,
  type FieldReader,
  Flag,
  type InJson,
  Nullable,
  OneOf,
  PlainText,
  RecordJson,
  symbolReader,
  type ValueReader,
} from "./avro-values.ts";

/** The package is CommonJS: Node sees its names only on the default export. */
const { types } = avsc;

/**
 * Returns the scanner for records of a writer's schema as events of one version of the contract. It has a reader for
 * each field, which writes the column's text directly from the bytes. Fields that the version does not know are passed
 * over, as zod does. The scanner may recognise less than the writer's schema allows (not bytes in non-canonical form,
 * U+FFFD, control characters). It never recognises more, nor a record for which JSON text and zod would give another
 * verdict or value: test/laws/decoding/avro-columns.test.ts compares them.
 */
export function bodyScanner(type: Type, version: Version): BodyScanner | null {
  // Records with fields in other places are read by way of their JSON.
  const isNested = version.wire !== null || version.foreign.some(({ length }) => length > 1);
  if (!(type instanceof types.RecordType) || isNested) return null;
  const specs = specsOf(version);
  const record = recordReaders(type, new Map(specs), false);
  if (record === null) return null;
  const written = new Set(type.fields.map(({ name }) => name));
  const isForeign = version.foreign.some(([name = ""]) => written.has(name));
  if (isForeign || record === "incomplete") return NEVER;
  return new Body(
    specs.map(([name]) => written.has(name)),
    record.map(({ reader }) => reader),
    record.map(({ name }) => specs.findIndex(([field]) => field === name)),
  );
}

/** The scanner of records that are never events of the version. */
const NEVER: BodyScanner = { scan: () => false, has: () => false, hasAll: false };

class Body implements BodyScanner {
  readonly hasAll: boolean;
  readonly #has: readonly boolean[];
  readonly #readers: readonly ValueReader[];
  /** The column that each reader writes to, negative for a field that is passed over. */
  readonly #columns: readonly number[];
  readonly #input = new AvroInput();

  constructor(has: readonly boolean[], readers: readonly ValueReader[], columns: readonly number[]) {
    this.hasAll = !has.includes(false);
    this.#has = has;
    this.#readers = readers;
    this.#columns = columns;
  }

  has(field: number): boolean {
    return this.#has[field] as boolean;
  }

  scan(bytes: Uint8Array, from: number, end: number, columns: readonly ColumnText[]): boolean {
    const input = this.#input;
    input.set(bytes, from, end);
    for (let index = 0; index < this.#readers.length; index++) {
      const column = this.#columns[index] as number;
      const out = column < 0 ? UNUSED : (columns[column] as ColumnText);
      if (!(this.#readers[index] as ValueReader).read(input, out)) return false;
    }
    return input.at === end;
  }
}

/** The column of fields that are passed over. Nothing is written to it. */
const UNUSED = new ColumnText(0);

/**
 * Returns the readers in the order in which the fields are written. Null when a field has a type that is not read here.
 */
function recordReaders(
  { fields }: InstanceType<typeof types.RecordType>,
  specs: ReadonlyMap<string, FieldSpec>,
  inJson: InJson,
): FieldReader[] | "incomplete" | null {
  const readers: FieldReader[] = [];
  for (const field of fields) {
    const spec = specs.get(field.name);
    const reader = spec === undefined ? passOverField(field, []) : fieldReader(spec, field.type, inJson);
    if (reader === null) return null;
    readers.push({ name: field.name, reader, isPassedOver: spec === undefined });
  }
  const isComplete = [...specs].every(
    ([name, { type }]) => type === "optional" || type === "default" || fields.some((field) => field.name === name),
  );
  return isComplete ? readers : "incomplete";
}

function fieldReader(spec: FieldSpec, type: Type, inJson: InJson): ValueReader | null {
  const nullable = nullableOf(type);
  const reader = valueReader(bare(spec), nullable?.of ?? type, inJson);
  if (nullable === null || reader === null) return reader;
  return new Nullable(reader, nullable, spec.type === "optional" ? (inJson ? utf8("null") : NULL) : null);
}

const NULL = Uint8Array.of(ABSENT);

function valueReader(spec: ReturnType<typeof bare>, type: Type, inJson: InJson): ValueReader | null {
  switch (spec.type) {
    case "integer":
      return numberReader(type, { scale: 0, min: spec.min, max: spec.max }, inJson);
    case "instant":
      return numberReader(type, { scale: 0, min: parseBound(spec.from), max: parseBound(spec.to) }, inJson);
    case "decimal":
      return numberReader(type, spec, inJson);
    case "text":
      if (type instanceof types.StringType) return new PlainText(spec.max, inJson);
      return symbolReader(type, ({ length }) => length <= spec.max, inJson);
    case "oneOf":
      if (type instanceof types.StringType) return new OneOf(spec.values, inJson);
      return symbolReader(type, (symbol) => spec.values.includes(symbol), inJson);
    case "flag":
      return type instanceof types.BooleanType ? new Flag() : null;
    case "values": {
      const of = type instanceof types.ArrayType ? valueReader(bare(spec.of), type.itemsType, true) : null;
      return of === null ? null : new Elements(of, spec.max);
    }
    case "map":
    case "entries":
      // Records with maps are read by way of their JSON.
      return null;
    case "list": {
      if (!(type instanceof types.ArrayType) || !(type.itemsType instanceof types.RecordType)) return null;
      const element = recordReaders(type.itemsType, new Map(Object.entries(spec.of)), true);
      return element === null || element === "incomplete" ? null : new Elements(new RecordJson(element), spec.max);
    }
  }
}
