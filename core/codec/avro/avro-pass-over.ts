import avsc, { type Type } from "avsc";
import type { ColumnText } from "../text/column-text.ts";
import { DECIMAL_BYTES, Decimal } from "./avro-decimal.ts";
import { type AvroInput, asciiSteps, blockSize, plainSequence } from "./avro-input.ts";
import { nullableOf, sizeOf } from "./avro-types.ts";
import { Nullable, type ValueReader } from "./avro-values.ts";

const { types } = avsc;

/**
 * Returns the reader of a field that is passed over; null for a type that is not read here, and for the name
 * `__proto__`, which an object cannot be given as a property: its value is left to the reader of objects.
 */
export function passOverField(
  { name, type }: { name: string; type: Type },
  within: readonly Type[],
): ValueReader | null {
  return name === "__proto__" ? null : passOver(type, within);
}

/** Returns a reader that checks a value and writes nothing. Null for a type that is not read here. */
function passOver(type: Type, within: readonly Type[]): ValueReader | null {
  if (within.includes(type)) return null;
  const inner = [...within, type];
  const over = (isRead: (input: AvroInput, out: ColumnText) => boolean): ValueReader => ({ read: isRead });
  if (type instanceof types.NullType) return over(() => true);
  if (type instanceof types.BooleanType) return over((input) => input.byte() >>> 1 === 0);
  if (type instanceof types.IntType || type instanceof types.LongType)
    return over((input) => !Number.isNaN(input.long()));
  if (type instanceof types.FloatType) return over((input) => Number.isFinite(input.float(4)));
  if (type instanceof types.DoubleType) return over((input) => Number.isFinite(input.float(8)));
  if (type instanceof types.BytesType) return over((input) => passBytes(input, input.length()));
  if (type instanceof types.FixedType) return over((input) => passBytes(input, type.size));
  if (type instanceof types.StringType) return over(passText);
  if (type instanceof types.EnumType) return over((input) => type.symbols[input.long()] !== undefined);
  if (type instanceof Decimal) {
    const size = sizeOf(type);
    return over((input) => {
      const length = size ?? input.length();
      return length > 0 && length <= DECIMAL_BYTES && passBytes(input, length);
    });
  }
  const nullable = nullableOf(type);
  if (nullable !== null) {
    const of = passOver(nullable.of, inner);
    return of === null ? null : new Nullable(of, nullable, new Uint8Array(0));
  }
  if (type instanceof types.ArrayType) {
    const item = passOver(type.itemsType, inner);
    return item === null ? null : over((input, out) => passList(input, out, item));
  }
  if (type instanceof types.MapType) {
    const value = passOver(type.valuesType, inner);
    const entry = over((input, out) => passText(input) && value?.read(input, out) === true);
    return value === null ? null : over((input, out) => passList(input, out, entry));
  }
  if (type instanceof types.UnwrappedUnionType || type instanceof types.WrappedUnionType) {
    const branches = (type as { readonly types: readonly Type[] }).types.map((branch) => passOver(branch, inner));
    return branches.includes(null) ? null : over((input, out) => branches[input.long()]?.read(input, out) === true);
  }
  if (!(type instanceof types.RecordType)) return null;
  const fields = type.fields.map((field) => passOverField(field, inner));
  const readers = fields.filter((field) => field !== null);
  return readers.length < fields.length
    ? null
    : over((input, out) => readers.every((reader) => reader.read(input, out)));
}

function passBytes(input: AvroInput, size: number): boolean {
  if (size < 0 || size > input.end - input.at) return false;
  input.at += size;
  return true;
}

function passText(input: AvroInput): boolean {
  const length = input.length();
  if (length < 0) return false;
  const end = input.at + length;
  while (input.at < end) {
    input.at += asciiSteps(input, input.at, end);
    if (input.at === end) break;
    const isAscii = (input.bytes[input.at] as number) < 0x80;
    const size = isAscii ? 1 : plainSequence(input.bytes, input.at, end);
    if (size === 0) return false;
    input.at += size;
  }
  return true;
}

function passList(input: AvroInput, out: ColumnText, item: ValueReader): boolean {
  for (let size = blockSize(input); size !== 0; size = blockSize(input)) {
    if (Number.isNaN(size)) return false;
    for (let left = size; left > 0; left--) if (!item.read(input, out)) return false;
  }
  return true;
}
