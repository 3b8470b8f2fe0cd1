import type { Field } from "../contract/field.ts";
import { bare } from "../contract/fields.ts";
import type { Sql } from "../contract/sql.ts";
import type { Stream } from "../contract/stream.ts";
import { fractionOfText } from "../numbers/fraction.ts";
import { scaleOfSql } from "../numbers/scale.ts";
import { integerOf, type Measure, type Presented, presentInteger, type ScaleOf } from "./measure.ts";

/**
 * Turns integers into decimals for presentation. Fields of `decimal` are stored and merged as integers of 10^-scale
 * units. State, SQL and the order of rows use the integers only.
 */

/** Returns an integer of 10^-scale units as a decimal number with all its places: 1230 with scale 2 is "12.30". */
export function decimalText(units: bigint, scale: number): string {
  if (scale === 0) return units.toString();
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  return `${units < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** The most digits of a decimal whose nearest double is written with the same digits. */
const EXACT_DIGITS = 15;
const MOST_EXACT = 10n ** BigInt(EXACT_DIGITS);

/**
 * Returns an integer of 10^-scale units for an answer: a number while a double has all of its digits, else its text.
 * Null for undefined.
 */
export function presentDecimal(units: bigint | undefined, scale: number): Presented {
  if (units === undefined || scale === 0) return presentInteger(units);
  const text = decimalText(units, scale);
  return units < MOST_EXACT && units > -MOST_EXACT ? Number(text) : text;
}

/** Applies `presentDecimal` to an integer that is presented already. Returns any other value unchanged. */
export function inDecimals(value: Presented, scale: number): Presented {
  const units = scale === 0 ? null : integerOf(value);
  return units === null ? value : presentDecimal(units, scale);
}

/** Returns the 10^-scale units of a decimal number in a client's text. Null for any other text, and for more places. */
export function unitsOfText(text: string, scale: number): string | null {
  const value = fractionOfText(text);
  if (value === null || text.length > 100) return null;
  const scaled = value.over * 10n ** BigInt(scale);
  return scaled % value.under === 0n ? (scaled / value.under).toString() : null;
}

/** The parts of a view that its expressions depend on. */
interface Read {
  readonly stream: Stream;
  readonly each: string | null;
}

/**
 * Returns the decimal places of an expression over a stream's events, or with `each` over its lines. 0 if it has none,
 * or if that is not certain.
 */
function scaleOver({ stream, each }: Read): ScaleOf {
  const fields: Readonly<Record<string, Field>> = stream?.fields ?? {};
  const list = each === null ? undefined : fields[each]?.spec;
  const lines = list === undefined ? undefined : bare(list);
  const columnScale = (name: string) => {
    const [, ofLine] = /^item\.(.*)$/is.exec(name) ?? [];
    const isLine = lines?.type === "values" && name.toLowerCase() === "item";
    const hasFields = lines?.type === "list" || lines?.type === "entries";
    const parts = hasFields ? lines.of : lines?.type === "map" ? { value: lines.of } : undefined;
    const ofFields = ofLine !== undefined && parts !== undefined ? named(parts, ofLine) : named(fields, name)?.spec;
    const spec = isLine ? lines.of : ofFields;
    const found = spec === undefined ? undefined : bare(spec);
    if (found?.type === "decimal") return found.scale;
    return found?.type === "integer" || found?.type === "instant" ? 0 : undefined;
  };
  return ({ text }: Sql) => scaleOfSql(text, columnScale) ?? 0;
}

/** Returns the value with a name, in upper or lower case, because SQL ignores case. */
function named<V>(record: Readonly<Record<string, V>>, name: string): V | undefined {
  const lower = name.toLowerCase();
  return record[name] ?? Object.entries(record).find(([one]) => one.toLowerCase() === lower)?.[1];
}

/**
 * Returns a view whose measures are answered in the units of the decimal fields that they read. The definition may have
 * any errors.
 */
export function withDecimals<V extends Read & { readonly measures: Readonly<Record<string, Measure>> }>(view: V): V {
  const { measures } = view;
  if (typeof measures !== "object" || measures === null) return view;
  const scaleOf = scaleOver(view);
  const bound = Object.entries(measures).map(([name, measure]) => [name, measure?.withScales?.(scaleOf) ?? measure]);
  return { ...view, measures: Object.fromEntries(bound) };
}

type Grouped = Read & { readonly by: Readonly<Record<string, Sql>> };

const known = new WeakMap<Grouped, ReadonlyMap<string, number>>();

/** Returns the dimensions of a view that are decimals, with their places. */
export function dimensionScales(view: Grouped): ReadonlyMap<string, number> {
  const held = known.get(view);
  if (held !== undefined) return held;
  const scaleOf = scaleOver(view);
  const scales = Object.entries(view.by).map(([name, sql]) => [name, scaleOf(sql)] as const);
  const found = new Map(scales.filter(([, scale]) => scale > 0));
  known.set(view, found);
  return found;
}

/** Returns a dimension's value in the form of an answer. */
export function shownGroupValue(view: Grouped, dimension: string, value: Presented): Presented {
  return inDecimals(value, dimensionScales(view).get(dimension) ?? 0);
}
