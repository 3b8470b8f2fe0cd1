import { z } from "zod";

/** The types that a column of decoded events can have. Money and counts are integers; there are no doubles (invariant 6). */
export type ColumnType = "VARCHAR" | "BIGINT" | "BOOLEAN";

/**
 * One field of an event: what producers may send (zod), the column it becomes, and the vectorised decode of its JSON text.
 *
 * `guard` and `value` are SQL over one column that holds the field's JSON text. `guard` must imply that zod accepts the text; what it
 * does not recognise is left to zod, so it may be as narrow as is fast. `value` is what zod gives, for every text that the guard
 * recognises and for JSON.stringify of every value that zod accepts.
 */
export interface Field<T = unknown> {
  readonly column: ColumnType;
  readonly optional: boolean;
  readonly zod: z.ZodType<T>;
  readonly guard: (json: string) => string;
  readonly value: (json: string) => string;
}

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
    // The round trip through text refuses 1.5, 1e3, true and "5", all of which a bare cast would turn into an integer.
    guard: (json) =>
      `(TRY_CAST(${json} AS BIGINT)::VARCHAR = ${json} AND TRY_CAST(${json} AS BIGINT) BETWEEN ${min} AND ${max})`,
    value: (json) => `TRY_CAST(${json} AS BIGINT)`,
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
    guard: (json) =>
      `(regexp_full_match(${json}, '-?[0-9]{1,15}(\\.[0-9]{1,${scale}})?') AND TRY_CAST(${json} AS DECIMAL(18,${scale})) BETWEEN ${min} AND ${max})`,
    value: (json) => `TRY((TRY_CAST(${json} AS DECIMAL(18,${scale})) * ${factor})::BIGINT)`,
  };
}

/** The text that a JSON string stands for; only one with escapes needs a parser. */
const unquoted = (json: string) =>
  `CASE WHEN contains(${json}, '\\') THEN json_extract_string(${json}, '$') ELSE ${json}[2:-2] END`;

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
    // Texts with escapes are left to zod, and so is text long enough to need counting (UTF-8 bytes are never fewer than UTF-16 units).
    guard: (json) => `(${json}[1] = '"' AND NOT contains(${json}, '\\') AND strlen(${json}) <= ${max + 2})`,
    value: unquoted,
  };
}

/** One of a closed list of texts. */
export function oneOf<const T extends string>(...values: readonly T[]): Field<T> {
  const literals = values.map((value) => `'${JSON.stringify(value).replaceAll("'", "''")}'`).join(", ");
  return {
    column: "VARCHAR",
    optional: false,
    zod: z.enum(values as readonly [T, ...T[]]) as unknown as z.ZodType<T>,
    guard: (json) => `(${json} IN (${literals}))`,
    value: unquoted,
  };
}

/** true or false. */
export function flag(): Field<boolean> {
  return {
    column: "BOOLEAN",
    optional: false,
    zod: z.boolean(),
    guard: (json) => `(${json} IN ('true', 'false'))`,
    value: (json) => `(${json} = 'true')`,
  };
}

/** The same field, but null or absent is allowed; both are stored as NULL. */
export function optional<T>(field: Field<T>): Field<T | null | undefined> {
  return {
    column: field.column,
    optional: true,
    zod: field.zod.nullish(),
    guard: (json) => `(${json} IS NULL OR ${field.guard(json)})`,
    value: field.value,
  };
}
