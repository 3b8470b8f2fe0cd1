import { z } from "zod";
import { quoteText } from "./sql.ts";

/** The types that a column of decoded events can have. Money and counts are integers; there are no doubles (invariant 6). */
export type ColumnType = "VARCHAR" | "BIGINT" | "BOOLEAN";

/**
 * One field of an event: what producers may send (zod), the column it becomes, and its vectorised decode.
 *
 * DuckDB's JSON reader converts generously (1.5 to 2, true to 1, "5" to 5), so the decode also looks at the type that the JSON itself has.
 * A record is recognised when that is one of `types` and `guard` holds; zod must then accept it, and `value` must be what zod gives. What
 * is not recognised is left to zod, so all of this may be as narrow as is fast. `value` must also be right for JSON.stringify of
 * every value that zod accepts.
 */
export interface Field<T = unknown> {
  readonly column: ColumnType;
  readonly optional: boolean;
  readonly zod: z.ZodType<T>;
  /** What the JSON value is read as; JSON: as its text. */
  readonly read: ColumnType | "JSON";
  /** DuckDB's json_type of the values that it recognises. */
  readonly types: readonly string[];
  /** SQL over the value as read. */
  readonly guard: (read: string) => string;
  readonly value: (read: string) => string;
}

const asRead = (read: string) => read;

/** Whole numbers. The bounds are part of the contract: they are what keeps a sum inside 64 bits. */
export function integer(options: { min: number; max: number }): Field<number> {
  const { min, max } = options;
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min > max) {
    throw new RangeError(`integer bounds must be safe integers in order, not ${min}..${max}`);
  }
  return {
    column: "BIGINT",
    optional: false,
    zod: z.int().min(min).max(max),
    read: "BIGINT",
    types: min < 0 ? ["UBIGINT", "BIGINT"] : ["UBIGINT"],
    guard: (read) => `${read} BETWEEN ${min} AND ${max}`,
    value: asRead,
  };
}

/** An instant as epoch milliseconds. A record outside the bounds goes to the dead letters: it would open endless buckets. */
export function instant(options: { from: string; to: string }): Field<number> {
  return integer({ min: Date.parse(options.from), max: Date.parse(options.to) });
}

/**
 * A number with at most `scale` decimal places, kept as an integer of 10^-scale units: 12.34 with scale 2 is 1234.
 * There is no floating-point field without a scale: sums of doubles depend on their order.
 */
export function decimal(options: { scale: number; min: number; max: number }): Field<number> {
  const { scale, min, max } = options;
  if (!Number.isInteger(scale) || scale < 1 || scale > 6)
    throw new RangeError(`a decimal's scale is 1 to 6, not ${scale}`);
  const factor = 10 ** scale;
  if (!Number.isSafeInteger(min * factor) || !Number.isSafeInteger(max * factor) || min > max) {
    throw new RangeError(`decimal bounds must be safe integers once scaled, not ${min}..${max} with scale ${scale}`);
  }
  const exact = (value: number) => Number(value.toFixed(scale)) === value;
  return {
    column: "BIGINT",
    optional: false,
    zod: z.number().min(min).max(max).refine(exact, `more than ${scale} decimal places`),
    read: "JSON",
    types: ["UBIGINT", "BIGINT", "DOUBLE"],
    guard: (json) =>
      `(regexp_full_match(${json}, '-?[0-9]{1,15}(\\.[0-9]{1,${scale}})?') AND TRY_CAST(${json} AS DECIMAL(18,${scale})) BETWEEN ${min} AND ${max})`,
    value: (json) => `TRY((TRY_CAST(${json} AS DECIMAL(18,${scale})) * ${factor})::BIGINT)`,
  };
}

/** Unicode text of at most `max` UTF-16 units; lone surrogates are refused, for they have no UTF-8. */
export function text(options: { max?: number } = {}): Field<string> {
  const max = options.max ?? 256;
  return {
    column: "VARCHAR",
    optional: false,
    zod: z
      .string()
      .max(max)
      .refine((value) => value.isWellFormed(), "a lone surrogate"),
    read: "VARCHAR",
    types: ["VARCHAR"],
    // UTF-8 bytes are never fewer than UTF-16 units: text long enough to need counting is left to zod.
    guard: (read) => `strlen(${read}) <= ${max}`,
    value: asRead,
  };
}

/** One of a closed list of texts. */
export function oneOf<const T extends string>(...values: readonly T[]): Field<T> {
  const literals = values.map(quoteText).join(", ");
  return {
    column: "VARCHAR",
    optional: false,
    zod: z.enum(values as readonly [T, ...T[]]) as unknown as z.ZodType<T>,
    read: "VARCHAR",
    types: ["VARCHAR"],
    guard: (read) => `${read} IN (${literals})`,
    value: asRead,
  };
}

/** true or false. */
export function flag(): Field<boolean> {
  return {
    column: "BOOLEAN",
    optional: false,
    zod: z.boolean(),
    read: "BOOLEAN",
    types: ["BOOLEAN"],
    guard: (read) => `${read} IS NOT NULL`,
    value: asRead,
  };
}

/** The same field, but null or absent is allowed; both are stored as NULL. */
export function optional<T>(field: Field<T>): Field<T | null | undefined> {
  return { ...field, optional: true, zod: field.zod.nullish() };
}
