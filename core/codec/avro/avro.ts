import avsc, { type types as avroTypes, type Schema, type Type } from "avsc";
import type { FieldSpec } from "../../contract/field.ts";
import { bare } from "../../contract/fields.ts";
import type { Stream, Version } from "../../contract/stream.ts";
import type { AvroReader } from "../decode/decode.ts";
import type { BodyScanner } from "../decode/scan.ts";
import { Decimal, unscaledBytes } from "./avro-decimal.ts";
import { bodyScanner } from "./scan-avro.ts";

/** The package is CommonJS: Node sees its names only on the default export. */
const { types } = avsc;

/**
 * Avro in Confluent's wire format: a zero byte, the id of the writer's schema (four bytes, big endian), the body. A
 * record is read by its writer's schema and turned into JSON text of the writer's fields, so that the one contract
 * decides about versions, bounds and defaults. Nearly all records skip that text: `bodyScanner` writes the columns that
 * this JSON would give.
 */

/** A schema that records were written with. Compiled once, used for every record of its id. */
export class AvroSchema implements AvroReader {
  readonly #type: Type;
  readonly #write: WriteJson;
  readonly #scanners = new WeakMap<Version, BodyScanner | null>();

  /** Throws when the text is not an Avro schema. */
  constructor(text: string) {
    this.#type = typeOf(text);
    this.#write = new JsonWriters().of(this.#type);
  }

  /**
   * Returns a body as JSON text. Throws when the body is malformed or longer than its value, or has a value that JSON
   * cannot hold exactly: an integer beyond 2^53-1, NaN or infinity, text that is not UTF-8.
   */
  jsonOf(body: Uint8Array): string {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
    const value: unknown = this.#type.fromBuffer(bytes);
    const json = this.#write(value);
    // Bytes that are not UTF-8 are read as U+FFFD. A text that really has U+FFFD is the same when it is written again.
    if (json.includes("\ufffd") && !this.#type.toBuffer(value).equals(bytes)) throw new Error("text is not UTF-8");
    return json;
  }

  /**
   * Returns a scanner of its bodies as events of a version, which writes the texts of columns directly. Null if only
   * the JSON text can decide.
   */
  scannerOf(version: Version): BodyScanner | null {
    let scanner = this.#scanners.get(version);
    if (scanner === undefined) {
      scanner = bodyScanner(this.#type, version);
      this.#scanners.set(version, scanner);
    }
    return scanner;
  }

  /**
   * Returns an event in the wire format, under the id that the registry gave this schema. Absent fields get the
   * schema's defaults.
   */
  encode(id: number, event: unknown): Buffer {
    const body = this.#type.toBuffer(event);
    const header = Buffer.alloc(5);
    header.writeUInt32BE(id, 1);
    return Buffer.concat([header, body]);
  }
}

/**
 * Returns the type of a schema's text: decimals are exact, and a list cannot claim more elements than there are bytes.
 */
export function typeOf(text: string): Type {
  return avsc.Type.forSchema(JSON.parse(text) as Schema, {
    logicalTypes: { decimal: Decimal },
    typeHook: (schema, options) => {
      const kind = typeof schema === "string" ? schema : (schema as { readonly type?: unknown }).type;
      if (kind === "long") return isNanos(schema) ? anyLong : exactLong;
      if (kind === "array") return new BoundedArray(schema, options);
      return kind === "map" ? new BoundedMap(schema, options) : undefined;
    },
  });
}

/** A long that is exact below -2^52, where avsc's own reads a number above 0. */
const exactLong = types.LongType.__with({
  fromBuffer(bytes: Buffer) {
    const value = Number(bytes.readBigInt64LE());
    if (!Number.isSafeInteger(value)) throw new Error("potential precision loss");
    return value;
  },
  toBuffer(value: number) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: Number,
  toJSON: Number,
  isValid: Number.isSafeInteger,
  compare: (a: number, b: number) => Math.sign(a - b),
});

function isNanos(schema: unknown): boolean {
  return /timestamp-nanos$/.test(String((schema as { readonly logicalType?: unknown }).logicalType));
}

/** A long of any size, as a bigint: nanoseconds since 1970 are beyond 2^53. */
const anyLong = types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint | number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === "bigint" || Number.isSafeInteger(value),
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
});

/** The bytes that a type reads, and the position in them. */
interface Tap {
  readonly buf: Buffer;
  readonly pos: number;
  readLong(): number;
  skipLong(): void;
  readString(): string;
}

interface Readable {
  _read(tap: Tap): unknown;
}

/**
 * Returns the number of elements in the next block. 0 ends a list. Damaged bytes may claim 2^50 elements, each of which
 * would be read from beyond the end.
 */
function blockSize(tap: Tap): number {
  const size = tap.readLong();
  if (size < 0) tap.skipLong();
  if (Math.abs(size) > tap.buf.length - tap.pos) throw new Error("a list longer than the record");
  return Math.abs(size);
}

class BoundedArray extends types.ArrayType {
  _read(tap: Tap): unknown[] {
    const items: unknown[] = [];
    const element = this.itemsType as unknown as Readable;
    for (let size = blockSize(tap); size > 0; size = blockSize(tap))
      for (let index = 0; index < size; index++) items.push(element._read(tap));
    return items;
  }
}

class BoundedMap extends types.MapType {
  _read(tap: Tap): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    const element = this.valuesType as unknown as Readable;
    for (let size = blockSize(tap); size > 0; size = blockSize(tap))
      for (let index = 0; index < size; index++) entries.push([tap.readString(), element._read(tap)]);
    return Object.fromEntries(entries);
  }
}

type WriteJson = (value: unknown) => string;

/** Writers of JSON text, one a type. Each is made when it is first needed, because a type may contain itself. */
class JsonWriters {
  readonly #made = new Map<Type, WriteJson>();

  of(type: Type): WriteJson {
    const known = this.#made.get(type);
    if (known !== undefined) return known;
    this.#made.set(type, (value) => made(value));
    const made = this.#make(type);
    this.#made.set(type, made);
    return made;
  }

  #make(type: Type): WriteJson {
    if (type instanceof Decimal) return String;
    if (type instanceof types.RecordType) return this.#record(type);
    if (type instanceof types.ArrayType) {
      const item = this.of(type.itemsType);
      return (value) => `[${(value as unknown[]).map(item).join(",")}]`;
    }
    if (type instanceof types.MapType) {
      const item = this.of(type.valuesType);
      const entry = ([key, value]: [string, unknown]) => `${JSON.stringify(key)}:${item(value)}`;
      return (value) =>
        `{${Object.entries(value as object)
          .map(entry)
          .join(",")}}`;
    }
    if (type instanceof types.UnwrappedUnionType) return this.#unwrapped(type.types);
    if (type instanceof types.WrappedUnionType) return this.#wrapped(type.types);
    if (type instanceof types.BytesType || type instanceof types.FixedType)
      return (value) => JSON.stringify((value as Buffer).toString("latin1"));
    if (type instanceof types.FloatType || type instanceof types.DoubleType) return finite;
    if (type instanceof types.StringType || type instanceof types.EnumType) return JSON.stringify;
    return String;
  }

  #record({ fields }: avroTypes.RecordType): WriteJson {
    const writers = fields.map(({ name, type }, index) => ({
      name,
      prefix: `${index === 0 ? "{" : ","}${JSON.stringify(name)}:`,
      write: this.of(type),
    }));
    if (writers.length === 0) return () => "{}";
    return (value) => {
      let json = "";
      for (const { name, prefix, write } of writers) json += prefix + write((value as Record<string, unknown>)[name]);
      return `${json}}`;
    };
  }

  #unwrapped(branches: readonly Type[]): WriteJson {
    const writers = branches
      .filter((branch) => !(branch instanceof types.NullType))
      .map((branch) => ({ branch, write: this.of(branch) }));
    const [only, ...others] = writers;
    if (only !== undefined && others.length === 0) return (value) => (value === null ? "null" : only.write(value));
    return (value) =>
      value === null ? "null" : (writers.find(({ branch }) => branch.isValid(value))?.write(value) ?? "null");
  }

  /**
   * Returns the writer of a union whose values do not show their branch. Such a value is an object with the branch's
   * name.
   */
  #wrapped(branches: readonly Type[]): WriteJson {
    const writers = new Map(branches.map((branch) => [branch.branchName, this.of(branch)]));
    return (value) => {
      const [branch] = Object.entries((value ?? {}) as Readonly<Record<string, unknown>>);
      return branch === undefined ? "null" : (writers.get(branch[0])?.(branch[1]) ?? "null");
    };
  }
}

function finite(value: unknown): string {
  if (!Number.isFinite(value)) throw new Error(`${value} cannot be written as a number in JSON`);
  return String(value);
}

/** Returns the Avro schema of a stream's version, as the text that is registered. */
export function avroSchemaText(stream: Stream, { version, fields }: Version): string {
  const name = camelCase(stream.name);
  const specs = Object.fromEntries(Object.entries(fields).map(([field, { spec }]) => [field, spec]));
  return JSON.stringify({
    type: "record",
    name,
    namespace: "tideline",
    doc: `${stream.name}, version ${version}`,
    fields: fieldSchemas(name, specs),
  });
}

function fieldSchemas(record: string, specs: Readonly<Record<string, FieldSpec>>): object[] {
  return Object.entries(specs).map(([name, spec]) => {
    const is = bare(spec);
    const type = valueSchema(`${record}${camelCase(name)}`, is);
    if (spec.type === "optional") return { name, type: ["null", type], default: null };
    if (spec.type !== "default") return { name, type };
    const byDefault =
      is.type === "decimal"
        ? decimalDefault(Number(spec.value), is.scale)
        : is.type === "map" || is.type === "entries"
          ? {}
          : spec.value;
    return { name, type, default: byDefault };
  });
}

/** Returns a decimal's default: a text whose code points are the bytes. */
function decimalDefault(value: number, scale: number): string {
  return unscaledBytes(BigInt(value.toFixed(scale).replace(".", ""))).toString("latin1");
}

function valueSchema(path: string, spec: ReturnType<typeof bare>): unknown {
  switch (spec.type) {
    case "integer":
      return "long";
    case "instant":
      return { type: "long", logicalType: "timestamp-millis" };
    case "decimal":
      return { type: "bytes", logicalType: "decimal", precision: 18, scale: spec.scale };
    case "text":
    case "oneOf":
      return "string";
    case "flag":
      return "boolean";
    case "values":
      return { type: "array", items: valueSchema(path, bare(spec.of)) };
    case "map":
      return {
        type: "map",
        values:
          spec.of.type === "optional" ? ["null", valueSchema(path, bare(spec.of))] : valueSchema(path, bare(spec.of)),
      };
    case "list":
      return { type: "array", items: { type: "record", name: path, fields: fieldSchemas(path, spec.of) } };
    case "entries":
      return { type: "map", values: { type: "record", name: path, fields: fieldSchemas(path, spec.of) } };
  }
}

/** Returns a name such as `order-completed` as a name that Avro allows. */
function camelCase(name: string): string {
  return name.replaceAll(/(?:^|[-_]+)([a-z0-9]?)/g, (_, letter: string) => letter.toUpperCase());
}
