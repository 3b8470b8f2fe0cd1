import avsc, { type Type } from "avsc";
import type { Decimal } from "./avro-decimal.ts";

const { types } = avsc;

export interface NullableType {
  readonly of: Type;
  /** The bytes that mark each branch in a record. */
  readonly value: number;
  readonly nothing: number;
}

/** Returns the parts of a union of one type and null. Null for any other type. */
export function nullableOf(type: Type): NullableType | null {
  if (!(type instanceof types.UnwrappedUnionType)) return null;
  const isNull = type.types.map((branch) => branch instanceof types.NullType);
  const [of, ...others] = type.types.filter((_, index) => isNull[index] !== true);
  if (of === undefined || others.length > 0 || type.types.length !== 2) return null;
  return { of, value: isNull.indexOf(false) * 2, nothing: isNull.indexOf(true) * 2 };
}

/** Returns the size of a value in bytes. Null if each value has its own length. */
export function sizeOf({ underlyingType }: Decimal): number | null {
  return underlyingType instanceof types.FixedType ? underlyingType.size : null;
}
