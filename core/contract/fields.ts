import { z } from "zod";
import { parseBound, parseNewBound } from "../time.ts";
import { builtField } from "./built-field.ts";
import type { Described } from "./described.ts";
import type { DefaultValue, Field, FieldSpec } from "./field.ts";
import { type Entry, isField, mapEntries, type ObjectEntry, objectEntries, objectList, valueList } from "./lists.ts";
import { isRecordPart } from "./record/record-part.ts";
import { epochMs, isoMs, offsetMs, WRITTEN, type WrittenAs } from "./record/record-time.ts";
import {
  base64Units,
  decimalText,
  decimalUnits,
  FLAG_TEXTS,
  integerOfText,
  lowerCase,
  NUMBER_TEXTS,
  type NumberText,
  ROUNDINGS,
  type Rounding,
  scalarText,
  uuidOf,
} from "./record/record-value.ts";
import { parsePath, pathText } from "./record/wire-path.ts";
import { isZoneName } from "./record/zone-time.ts";
import { quoteText } from "./sql.ts";

const asRead = (read: string) => read;

/** Returns a field that others are made of. Throws RangeError with its problem. */
function sound<T>(field: Field<T>): Field<T> {
  if (field.problem !== undefined) throw new RangeError(field.problem);
  return field;
}

function requireSize(max: number, what: string): void {
  if (!Number.isSafeInteger(max) || max < 0)
    throw new RangeError(`${what}, max, is a whole number, not ${String(max)}`);
}

/**
 * The place of the field in a record, if it is not under the field's own name: `$.payload.order.id`, a path of names in
 * JSON or Avro that begins at the record; or a part of the record: `key`, `header:<name>`, `timestamp`, `partition`,
 * `offset`.
 */
export interface FromPath extends Described {
  readonly from?: string;
}

/**
 * Returns the part of a specification that says where the value is. Throws RangeError for a text that is not a path.
 */
function placed(path: string | undefined): { path?: string } {
  if (path === undefined) return {};
  return { path: isRecordPart(path) ? path : pathText(parsePath(path)) };
}

/** How records write a value, if not as JSON does. */
export interface AsText {
  /** "text": records may also write a text, such as "12". */
  readonly as?: "text";
}

/** How records write a number, if not as JSON does. */
export interface AsNumber {
  /**
   * "text": records may also write a text, such as "12". "base64": records may also write the base64 of its units, as
   * Kafka Connect and Debezium write decimals. The database's scale has to be the field's.
   */
  readonly as?: NumberText;
}

/** Returns the part of a specification that says how records write the value. Throws RangeError for an unknown way. */
function written<T extends string>(as: T | undefined, ways: readonly T[]): { as?: T } {
  if (as === undefined) return {};
  if (!ways.includes(as)) throw new RangeError(`as is one of ${ways.join(", ")}, not "${String(as)}"`);
  return { as };
}

/** Returns a schema that reads a record's value with `read`, and then checks it by the contract. */
function readBy<T>(read: (value: unknown) => T | null, what: string, contract: z.ZodType<T>): z.ZodType<T> {
  return z.unknown().transform((value, context) => {
    const found = read(value);
    const held = found === null ? null : contract.safeParse(found);
    if (held?.success) return held.data;
    context.addIssue({ code: "custom", message: held?.error.issues[0]?.message ?? `not ${what}` });
    return z.NEVER;
  });
}

/** Whole numbers. The bounds are part of the contract: they keep a sum within 64 bits. */
export function integer(options: { min: number; max: number } & AsNumber & FromPath): Field<number> {
  return builtField(() => {
    const { min, max, as } = options;
    if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min > max) {
      throw new RangeError(`integer bounds must be safe integers in order, not ${min}..${max}`);
    }
    const between = (value: string) => `${value} BETWEEN ${min} AND ${max}`;
    const contract = z.int().min(min).max(max);
    const read = (value: unknown) =>
      typeof value === "string"
        ? (as === "base64" ? base64Units : integerOfText)(value)
        : typeof value === "number"
          ? value
          : null;
    return {
      spec: { type: "integer", min, max, ...written(as, NUMBER_TEXTS), ...placed(options.from) },
      column: "BIGINT",
      optional: false,
      hasDefault: false,
      zod: as === undefined ? contract : readBy(read, "a whole number", contract),
      read: "BIGINT",
      value: asRead,
      fits: between,
      literal: (value) => `${value}::BIGINT`,
    };
  }, options);
}

export interface InstantOptions extends Described {
  /**
   * The place of the value in a record (`$.payload.time`, `timestamp`, `header:time`). Any other text means the same as
   * `min`.
   */
  readonly from?: string;
  /** The same as `max`. */
  readonly to?: string;
  /** Bounds, in UTC if they name no zone. 2000 and 2100 if absent. */
  readonly min?: string;
  readonly max?: string;
  /**
   * How records write it: a number of seconds, milliseconds, microseconds, nanoseconds or days since 1970, also as
   * text; or ISO 8601. Digits below a millisecond are cut off. Absent: a JSON number of milliseconds.
   */
  readonly as?: WrittenAs;
  /**
   * For ISO 8601 texts without an offset: the offset, such as "Z" or "+02:00", or the time zone, such as Europe/Berlin.
   * A local time that the zone skips or has twice is refused. Without `zone` every text without an offset is refused.
   */
  readonly zone?: string;
}

/**
 * An instant, stored as epoch milliseconds. A record outside the bounds goes to the dead letters: it would open endless
 * buckets.
 */
export function instant(options: InstantOptions = {}): Field<number> {
  return builtField(() => {
    const { from = "", as, zone } = options;
    const isPath = from.startsWith("$") || isRecordPart(from);
    const [min, max] = [options.min ?? (isPath ? "" : from), options.max ?? options.to ?? ""];
    const bounds = { from: min === "" ? "2000-01-01T00:00:00Z" : min, to: max === "" ? "2100-01-01T00:00:00Z" : max };
    for (const bound of [bounds.from, bounds.to]) parseNewBound(bound);
    if (zone !== undefined && (as !== "iso" || (offsetMs(zone) === null && !isZoneName(zone))))
      throw new RangeError(
        `zone is for as: "iso", and an offset such as "Z" or "+02:00" or a zone such as Europe/Berlin, not "${zone}"`,
      );
    const ways = { ...written(as, WRITTEN), ...(zone === undefined ? {} : { zone }) };
    return sound(storedInstant({ ...bounds, ...ways, ...placed(isPath ? from : undefined) }));
  }, options);
}

type InstantSpec = Omit<Extract<FieldSpec, { type: "instant" }>, "type">;

/**
 * Returns the instant of a stored definition. Earlier releases accepted bounds on days that do not exist; a definition
 * file must not have them.
 */
export function storedInstant(spec: InstantSpec): Field<number> {
  return builtField(() => {
    const { from, to, as, zone, path } = spec;
    const [min, max] = [parseBound(from), parseBound(to)];
    const field = sound(integer({ min, max }));
    const ways = { ...(as === undefined ? {} : { as }), ...(zone === undefined ? {} : { zone }) };
    return {
      ...field,
      spec: { type: "instant", from, to, ...ways, ...placed(path) },
      zod: as === undefined ? field.zod : readInstant(as, zone ?? null).pipe(z.int().min(min).max(max)),
    };
  });
}

/** Returns a schema that reads a record's value as epoch milliseconds. */
function readInstant(as: WrittenAs, zone: string | null): z.ZodType<number> {
  const what =
    as === "iso" ? `an ISO 8601 time${zone === null ? " with its offset" : ""}` : `a number of ${as} since 1970`;
  return z.unknown().transform((value, context) => {
    // A double of more digits is not the number that the record wrote.
    const isExact = typeof value === "string" || !Number.isInteger(value) || Number.isSafeInteger(value);
    const ms =
      as === "iso"
        ? isoMs(typeof value === "string" ? value : "", zone)
        : typeof value === "string" || (typeof value === "number" && isExact)
          ? epochMs(String(value), as)
          : null;
    if (ms !== null) return ms;
    context.addIssue({ code: "custom", message: `not ${what}` });
    return z.NEVER;
  });
}

/** Every reader reads a JSON number of at most 15 digits exactly. */
const MAX_UNITS = 10 ** 15;

export interface DecimalOptions extends AsNumber, FromPath {
  readonly scale: number;
  readonly min: number;
  readonly max: number;
  /** How a number with more decimal places is rounded, such as a double. Absent: the record is refused. */
  readonly round?: Rounding;
}

/**
 * A number with at most `scale` decimal places, stored as an integer of 10^-scale units: 12.34 with scale 2 is 1234.
 * There is no floating-point field without a scale, because sums of doubles depend on their order.
 */
export function decimal(options: DecimalOptions): Field<number> {
  return builtField(() => {
    const { scale, min, max, as, round } = options;
    if (!Number.isInteger(scale) || scale < 1 || scale > 6)
      throw new RangeError(`a decimal's scale is 1 to 6, not ${scale}`);
    const factor = 10 ** scale;
    const exact = (value: number) => typeof value === "number" && Number(value.toFixed(scale)) === value;
    const least = Math.round(min * factor);
    const most = Math.round(max * factor);
    if (!(exact(min) && exact(max) && min <= max && least >= -MAX_UNITS && most <= MAX_UNITS))
      throw new RangeError(
        `decimal bounds must be in order, and have ${scale} decimal places and 15 digits at most, not ${min}..${max}`,
      );
    if (round !== undefined && !ROUNDINGS.includes(round))
      throw new RangeError(`a decimal is rounded ${ROUNDINGS.join(", ")}, not "${String(round)}"`);
    const contract = z.number().min(min).max(max).refine(exact, `more than ${scale} decimal places`);
    const read = (value: unknown) => {
      const isText = typeof value === "string" && as !== undefined;
      const text = typeof value === "number" ? decimalText(value) : isText ? value : "";
      const units = isText && as === "base64" ? base64Units(text) : decimalUnits(text, scale, round ?? null);
      return units === null || units < least || units > most ? null : units / factor;
    };
    const what = `a number of ${scale} decimal places between ${min} and ${max}`;
    const rounded = round === undefined ? {} : { round };
    return {
      spec: { type: "decimal", scale, min, max, ...written(as, NUMBER_TEXTS), ...rounded, ...placed(options.from) },
      column: "BIGINT",
      optional: false,
      hasDefault: false,
      zod: as === undefined && round === undefined ? contract : readBy(read, what, contract),
      read: "JSON",
      // A product has as many digits as its decimal. With 18 digits, the scaled units of a large value would not fit.
      value: (json) => `TRY((TRY_CAST(${json} AS DECIMAL(38,${scale})) * ${factor})::BIGINT)`,
      fits: (column) => `${column} BETWEEN ${least} AND ${most}`,
      literal: (value) => `${Math.round(Number(value) * factor)}::BIGINT`,
    };
  }, options);
}

/**
 * Unicode text of at most `max` code points. Lone surrogates are refused, because they have no UTF-8. With "uuid" it is
 * a UUID, stored in lower case. With "scalar" records may also have a number or a boolean, stored as its text: 12, 0.5,
 * true.
 */
export function text(options: { max?: number; as?: "uuid" | "scalar" } & FromPath = {}): Field<string> {
  return builtField(() => {
    const { as } = options;
    const max = options.max ?? (as === "uuid" ? UUID_LENGTH : 256);
    requireSize(max, "the length of a text");
    if (as === "uuid" && max !== UUID_LENGTH)
      throw new RangeError(`a UUID has ${UUID_LENGTH} characters: leave max out`);
    const contract = z
      .string()
      .max(max)
      .refine((value) => value.isWellFormed(), "a lone surrogate");
    const uuid = (value: unknown) => (typeof value === "string" ? uuidOf(value) : null);
    const ways = {
      uuid: () => readBy(uuid, "a UUID", contract),
      scalar: () => readBy(scalarText, "a text, a number or a boolean", contract),
    };
    return {
      spec: { type: "text", max, ...written(as, ["uuid", "scalar"]), ...placed(options.from) },
      column: "VARCHAR",
      optional: false,
      hasDefault: false,
      zod: as === undefined ? contract : ways[as](),
      read: "VARCHAR",
      value: asRead,
      fits: (column) =>
        as === "uuid"
          ? `regexp_full_match(${column}, '${UUID}')`
          : `(strlen(${column}) <= ${max} OR length(${column}) <= ${max})`,
      literal: (value) => quoteText(String(value)),
    };
  }, options);
}

const UUID_LENGTH = 36;
const UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";

/** How records write one of a closed list of texts. */
export interface OneOfOptions extends FromPath {
  /** "any-case": records may write it in upper or lower case (A to Z). It is stored as the list has it. */
  readonly as?: "any-case";
}

/**
 * One of a closed list of texts. After the texts there may be options: the place in a record, and how records write it.
 */
export function oneOf<const T extends string>(...values: readonly T[]): Field<T>;
export function oneOf<const T extends readonly string[]>(...values: readonly [...T, OneOfOptions]): Field<T[number]>;
export function oneOf(...given: readonly (string | OneOfOptions)[]): Field<string> {
  const last = given.at(-1);
  const options = typeof last === "object" && last !== null ? last : {};
  return builtField(() => {
    const values = (options === last ? given.slice(0, -1) : given) as readonly string[];
    if (values.length === 0 || values.some((value) => typeof value !== "string"))
      throw new RangeError("oneOf takes the texts that are allowed, at least one");
    const isOne = (value: string) => `${value} IN (${values.map(quoteText).join(", ")})`;
    return {
      spec: { type: "oneOf", values, ...written(options.as, ["any-case"]), ...placed(options.from) },
      column: "VARCHAR",
      optional: false,
      hasDefault: false,
      zod: options.as === undefined ? z.enum(values) : anyCase(values),
      read: "VARCHAR",
      value: asRead,
      fits: isOne,
      literal: (value) => quoteText(String(value)),
    };
  }, options);
}

/**
 * Returns a schema for one of these texts in upper or lower case. Throws RangeError if two of them differ only in case.
 */
function anyCase(values: readonly string[]): z.ZodType<string> {
  const byLower = new Map(values.map((value) => [lowerCase(value), value]));
  if (byLower.size < values.length) throw new RangeError("two texts of oneOf differ in upper and lower case only");
  const read = (value: unknown) => (typeof value === "string" ? (byLower.get(lowerCase(value)) ?? null) : null);
  return readBy(read, `one of ${values.map((value) => JSON.stringify(value)).join(", ")}`, z.enum(values));
}

/** true or false. With "text" also 0 and 1, and texts of these (`FLAG_TEXTS`). */
export function flag(options: AsText & FromPath = {}): Field<boolean> {
  const read = (value: unknown) =>
    typeof value === "boolean"
      ? value
      : value === 0 || value === 1 || typeof value === "string"
        ? flagOf(String(value))
        : null;
  return builtField(
    () => ({
      spec: { type: "flag", ...written(options.as, ["text"]), ...placed(options.from) },
      column: "BOOLEAN",
      optional: false,
      hasDefault: false,
      zod: options.as === undefined ? z.boolean() : readBy(read, "true or false", z.boolean()),
      read: "BOOLEAN",
      value: asRead,
      fits: (value) => `${value} IS NOT NULL`,
      literal: (value) => String(value),
    }),
    options,
  );
}

function flagOf(text: string): boolean | null {
  return Object.hasOwn(FLAG_TEXTS, text) ? (FLAG_TEXTS[text] ?? null) : null;
}

/** The same field, but a record may have null, or not have the field. Both are stored as NULL. */
export function optional<T>(field: Field<T>): Field<T | null | undefined> {
  return builtField(() => {
    if (sound(field).optional || field.hasDefault) throw new RangeError("a field is optional once, or has a default");
    return {
      ...field,
      spec: { type: "optional", of: field.spec },
      optional: true,
      zod: field.zod.nullish(),
    };
  });
}

/**
 * The same field, but a record may not have it, and then it reads as `value`. Null is refused. The default of a list or
 * a map can only be the empty list.
 */
export function withDefault<T>(field: Field<T>, value: T & DefaultValue): Field<T | undefined> {
  return builtField(() => {
    if (sound(field).optional || field.hasDefault) throw new RangeError("a field is optional, or has one default");
    if (!isKept(field, value)) throw new RangeError(`the default ${JSON.stringify(value)} breaks the contract`);
    const literal = field.literal(value);
    return {
      ...field,
      spec: { type: "default", of: field.spec, value },
      hasDefault: true,
      zod: field.zod.optional().default(value as never) as unknown as z.ZodType<T | undefined>,
      value: (read) => `coalesce(${field.value(read)}, ${literal})`,
    };
  });
}

/** Whether a field's column can have a value. Of an instant these are milliseconds, however records write it. */
function isKept({ spec, zod }: Field, value: unknown): boolean {
  const is = bare(spec);
  if (is.type === "instant") return z.int().min(parseBound(is.from)).max(parseBound(is.to)).safeParse(value).success;
  if (is.type === "map" || is.type === "entries") return Array.isArray(value) && value.length === 0;
  const parsed = zod.safeParse(value);
  return parsed.success && (typeof parsed.data === "object" || parsed.data === value);
}

/**
 * An object with free names, such as `{"eu": 3, "us": 5}`, stored as a list of at most `max` entries in the order of
 * their names: `item.key` and `item.value` in a view with `each`. Its values are those of a list, and may be optional.
 * For objects as values, such as `{"eu": {"sold": 3}}`, pass their fields: `item.key` and `item.sold`.
 */
export function map<T>(value: Field<T>, options?: { max?: number } & FromPath): Field<Entry<T>[]>;
export function map<const F extends Readonly<Record<string, Field>>>(
  fields: F,
  options?: { max?: number } & FromPath,
): Field<ObjectEntry<ElementOf<F>>[]>;
export function map(
  given: Field | Readonly<Record<string, Field>>,
  options: { max?: number } & FromPath = {},
): Field<unknown[]> {
  return builtField<unknown[]>(() => {
    const max = options.max ?? 1_000;
    requireSize(max, "the size of a map");
    const place = { max, ...placed(options.from) };
    return isField(given) ? mapEntries(given, text(), place) : objectEntries(given, text(), place);
  }, options);
}

type ElementOf<F extends Readonly<Record<string, Field>>> = { [K in keyof F]: z.infer<F[K]["zod"]> };

/**
 * A list of at most `max` values such as `list(text())`, for `contains` and `len` in SQL; or of at most `max` objects,
 * for instance the items of an order: `item.sku` in a view with `each`. Its elements hold scalars only.
 */
export function list<T>(value: Field<T>, options?: { max?: number } & FromPath): Field<T[]>;
export function list<const F extends Readonly<Record<string, Field>>>(
  fields: F,
  options?: { max?: number } & FromPath,
): Field<ElementOf<F>[]>;
export function list(
  given: Field | Readonly<Record<string, Field>>,
  options: { max?: number } & FromPath = {},
): Field<unknown[]> {
  return builtField<unknown[]>(() => {
    const max = options.max ?? 1_000;
    requireSize(max, "the length of a list");
    const place = { max, ...placed(options.from) };
    return isField(given) ? valueList(given, place) : objectList(given, place);
  }, options);
}

/** Whether a record must have the field, with a value other than null. */
export function isRequired({ optional, hasDefault }: Field): boolean {
  return !optional && !hasDefault;
}

/** Returns a field's specification without `optional` or the default. */
export function bare(spec: FieldSpec): Exclude<FieldSpec, { type: "optional" | "default" }> {
  return spec.type === "optional" || spec.type === "default" ? bare(spec.of) : spec;
}
