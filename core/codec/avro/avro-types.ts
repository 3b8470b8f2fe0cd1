import avsc, { type Type } from "avsc";
import type { Decimal } from "./avro-decimal.ts";

const { types } = avsc;

export interface NullableType {
  readonly of: Type;
  /** The bytes that stand for its branches. */
  readonly value: number;
  readonly nothing: number;
}

/** A union of one type and null. */
export function nullableOf(type: Type): NullableType | null {
  if (!(type instanceof types.UnwrappedUnionType)) return null;
  const isNull = type.types.map((branch) => branch instanceof types.NullType);
  const [of, ...others] = type.types.filter((_, index) => isNull[index] !== true);
  if (of === undefined || others.length > 0 || type.types.length !== 2) return null;
  return { of, value: isNull.indexOf(false) * 2, nothing: isNull.indexOf(true) * 2 };
}

/** How many bytes a value of a fixed size has; null for one that says so itself. */
export function sizeOf({ underlyingType }: Decimal): number | null {
  return underlyingType instanceof types.FixedType ? underlyingType.size : null;
}
