import type { Field } from "../contract/field.ts";
import { bare } from "../contract/fields.ts";
import type { Sql } from "../contract/sql.ts";
import type { Stream } from "../contract/stream.ts";
import { fractionOfText } from "../numbers/fraction.ts";
import { scaleOfSql } from "../numbers/scale.ts";
import { integerOf, type Measure, type Presented, presentInteger, type ScaleOf } from "./measure.ts";

/**
 * Fields of `decimal` are kept and merged as integers of 10^-scale units. Here is how they become decimals again when
 * they are presented. State, SQL and the order of rows know the integers only.
 */

/** An integer of 10^-scale units as a decimal number with all its places: 1230 with scale 2 is "12.30". */
export function decimalText(units: bigint, scale: number): string {
  if (scale === 0) return units.toString();
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  return `${units < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** With this many digits the nearest double is written with the same digits again. */
const EXACT_DIGITS = 15;
const MOST_EXACT = 10n ** BigInt(EXACT_DIGITS);

/**
 * An integer of 10^-scale units for an answer: a number while a double has all of its digits, else its text. Null for
 * none.
 */
export function presentDecimal(units: bigint | undefined, scale: number): Presented {
  if (units === undefined || scale === 0) return presentInteger(units);
  const text = decimalText(units, scale);
  return units < MOST_EXACT && units > -MOST_EXACT ? Number(text) : text;
}

/** `presentDecimal` of an integer that is presented already; any other value is as it is. */
export function inDecimals(value: Presented, scale: number): Presented {
  const units = scale === 0 ? null : integerOf(value);
  return units === null ? value : presentDecimal(units, scale);
}

/** The 10^-scale units of a decimal number that a client wrote, as text. Null for what is none, or has more places. */
export function unitsOfText(text: string, scale: number): string | null {
  const value = fractionOfText(text);
  if (value === null || text.length > 100) return null;
  const scaled = value.over * 10n ** BigInt(scale);
  return scaled % value.under === 0n ? (scaled / value.under).toString() : null;
}

/** What of a view its expressions read. */
interface Read {
  readonly stream: Stream;
  readonly each: string | null;
}

/**
 * The places of an expression over a stream's events, or with `each` over its lines; 0 where it has none, or that is
 * not certain.
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

/** What has a name, in upper or lower case, as SQL takes names. */
function named<V>(record: Readonly<Record<string, V>>, name: string): V | undefined {
  const lower = name.toLowerCase();
  return record[name] ?? Object.entries(record).find(([one]) => one.toLowerCase() === lower)?.[1];
}

/**
 * A view whose measures are answered in the units of the decimal fields that they read. Definitions may be wrong in any
 * way here.
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

/** The dimensions of a view that are decimals, with their places. */
export function dimensionScales(view: Grouped): ReadonlyMap<string, number> {
  const held = known.get(view);
  if (held !== undefined) return held;
  const scaleOf = scaleOver(view);
  const scales = Object.entries(view.by).map(([name, sql]) => [name, scaleOf(sql)] as const);
  const found = new Map(scales.filter(([, scale]) => scale > 0));
  known.set(view, found);
  return found;
}

/** A dimension's value as an answer shows it. */
export function shownGroupValue(view: Grouped, dimension: string, value: Presented): Presented {
  return inDecimals(value, dimensionScales(view).get(dimension) ?? 0);
}
