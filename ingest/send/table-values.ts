import type { Field, FieldSpec } from "../../core/contract/field.ts";
import { bare, isRequired } from "../../core/contract/fields.ts";
import { decimalUnits, type Rounding } from "../../core/contract/record/record-value.ts";
import { type Fraction, fractionOfText } from "../../core/numbers/fraction.ts";
import type { TableValue } from "../../store/duckdb/parquet-rows.ts";
import { strayBytes } from "../read/encoding.ts";
import { type Refusal, shown } from "./refusal.ts";
import { hasYearLast, PLAIN_FORMS, readTime, type ValueForms } from "./value-forms.ts";

type ListSpec = Extract<FieldSpec, { type: "list" | "values" | "map" | "entries" }>;

/**
 * A value in the form of its field (undefined: left out), or the reason that the field has no value exactly like it.
 */
export type EventValue =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly refusal: Refusal };

/**
 * Converts the text of a value, or the number of a floating-point column, to a value of a field's type.
 * (`contractProblem` checks the contract's bounds.) A number that would have to be rounded is refused, unless the
 * contract says how to round. A missing text becomes an empty text if the field is required; every other missing value
 * is left out.
 */
export function eventValue(field: Field, value: TableValue, forms: ValueForms = PLAIN_FORMS): EventValue {
  const spec = bare(field.spec);
  const isText = spec.type === "text" || spec.type === "oneOf";
  if (value === null || (typeof value === "string" && forms.missing.has(value)))
    return given(isText && isRequired(field) ? "" : undefined);
  if (typeof value === "number" && !Number.isFinite(value))
    return refused(String(value), "is not a value", "A missing one is null.");
  const written = String(value);
  const stray = strayBytes(written);
  if (stray !== null) return refused(undefined, ...strayReason(stray));
  if (isText) return given(written);
  const text = written.trim();
  switch (spec.type) {
    case "flag":
      return flagOf(text);
    case "integer":
      return numberOf(text, { scale: 0 }, forms);
    case "decimal":
      return numberOf(text, spec, forms);
    case "instant":
      return instantOf(text, forms);
    default:
      return listOf(text, spec);
  }
}

function given(value: unknown): { readonly ok: true; readonly value: unknown } {
  return { ok: true, value };
}

function refused(value: string | undefined, reason: string, advice?: string): EventValue {
  return {
    ok: false,
    refusal: { reason, ...(value === undefined ? {} : { value }), ...(advice === undefined ? {} : { advice }) },
  };
}

/** Returns what is wrong with a text with bytes that are not UTF-8, and how to correct it. */
function strayReason({ byte, asWindows1252 }: { byte: number; asWindows1252: string }): [string, string] {
  return [
    `the byte 0x${byte.toString(16).toUpperCase()} is not UTF-8`,
    `In Windows-1252 the value is ${shown(asWindows1252)}: if that is right, add ` +
      "--encoding windows-1252; otherwise name the file's encoding.",
  ];
}

const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ...["true", "t", "yes", "y", "1"].map((word) => [word, true] as const),
  ...["false", "f", "no", "n", "0"].map((word) => [word, false] as const),
]);

function flagOf(text: string): EventValue {
  const value = FLAGS.get(text.toLowerCase());
  return value === undefined ? refused(text, "is neither true nor false", "Write true or false.") : given(value);
}

interface Places {
  readonly scale: number;
  /** How the contract rounds numbers with more places; absent: they are refused. */
  readonly round?: Rounding;
}

/**
 * Returns the number of a text if it has at most `scale` decimal places, or is rounded, and if JSON keeps all its
 * digits.
 */
function numberOf(written: string, { scale, round }: Places, forms: ValueForms): EventValue {
  const text = forms.decimalComma ? withPoint(written) : written;
  const exact = text === null ? null : fractionOfText(text);
  const what = scale === 0 ? "a whole number" : "a number";
  if (text === null || exact === null) return refused(written, `is not ${what}`, numberAdvice(written, forms));
  if ((exact.over * 10n ** BigInt(scale)) % exact.under !== 0n) {
    if (scale === 0) {
      return refused(written, "is not a whole number", "Round it, or make the contract's field a decimal.");
    }
    if (round === undefined)
      return refused(
        written,
        `has more than ${scale} decimal places`,
        `Round it, or give the contract's field a larger scale, or round: "half-even".`,
      );
    const units = decimalUnits(plainText(exact), scale, round);
    return units === null ? tooLong(written) : given(units / 10 ** scale);
  }
  return keptByJson(exact, text) ? given(Number(text)) : tooLong(written);
}

function tooLong(written: string): EventValue {
  return refused(written, "has more digits than a number of JSON keeps", "Make the contract's field a text.");
}

/** Returns a decimal number without an exponent: `under` is a power of ten. */
function plainText({ over, under }: Fraction): string {
  const places = String(under).length - 1;
  const digits = String(over < 0n ? -over : over).padStart(places + 1, "0");
  const point = digits.length - places;
  return `${over < 0n ? "-" : ""}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** Returns 12,50 as 12.50; null for a text with a point, or with two commas. */
function withPoint(text: string): string | null {
  return text.includes(".") || text.indexOf(",") !== text.lastIndexOf(",") ? null : text.replace(",", ".");
}

const MISSING_WORD = /^(?:n\/?a|nan|null|none|nil|\?|-+|\\n|\.)$/i;

function numberAdvice(text: string, { decimalComma }: ValueForms = PLAIN_FORMS): string {
  if (MISSING_WORD.test(text))
    return `A missing value is an empty one; if ${text} means missing, add --missing ${quoted(text)}.`;
  if (decimalComma && /^[+-]?\d+\.\d+$/.test(text))
    return (
      "With --decimal-comma a point is not a decimal sign: write " +
      `${text.replace(".", ",")}, or leave --decimal-comma out.`
    );
  if (/^[+-]?[1-9]\d{0,2},\d{3}$/.test(text))
    return (
      `If the comma separates thousands write ${text.replace(",", "")}; if ` +
      "it is a decimal sign add --decimal-comma."
    );
  if (/^[+-]?\d+,\d+$/.test(text)) return `Write ${text.replace(",", ".")}, or add --decimal-comma.`;
  if (/^[+-]?\d{1,3}([ ,.'\u00a0]\d{3})+([.,]\d+)?$/.test(text)) return "Write it without separators of thousands.";
  return "Write digits, such as 12 or 12.50, without a unit.";
}

function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text}'`;
}

function instantOf(text: string, forms: ValueForms): EventValue {
  const time = readTime(text, forms);
  return time === null ? refused(text, "is not a time", timeAdvice(text, forms)) : given(time);
}

function timeAdvice(text: string, { timeNumbers, dateOrder }: ValueForms): string {
  if (MISSING_WORD.test(text)) return numberAdvice(text);
  if (hasYearLast(text) && dateOrder === null)
    return "Write the year first, 2026-03-01, or add --dates dmy (day first) or --dates mdy (month first).";
  if (/^\d{4}-\d{2}-\d{2}/.test(text))
    return "There is no such day or time of day, or more follows it: write 2026-03-01T08:02:00Z.";
  const number = timeNumbers === "ms" ? "epoch milliseconds" : `a number as --times ${timeNumbers} says`;
  return `Write 2026-03-01T08:02:00Z, 2026-03-01 08:02:00 (UTC without a zone), or ${number}.`;
}

const EXAMPLES = {
  ...{ values: '["value"]', list: '[{"name":"value"}]' },
  ...{ map: '{"name":"value"}', entries: '{"name":{"field":"value"}}' },
} as const;

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.]*(?:[eE][+-]?\d+)?/g;

/** Parses the JSON of a list. A field's number that would have to be rounded is refused. */
function listOf(text: string, spec: ListSpec): EventValue {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return /\b(NaN|Infinity)\b/.test(text)
      ? refused(undefined, "NaN and Infinity are not values")
      : refused(text, isMap(spec) ? "is not an object" : "is not a list", `Write JSON: ${EXAMPLES[spec.type]}.`);
  }
  // The same JSON, with each number that would be rounded as a text.
  const exact: unknown = JSON.parse(
    text.replace(STRING_OR_NUMBER, (one) => (one.startsWith('"') || isKeptByJson(one) ? one : JSON.stringify(one))),
  );
  const [all, kept] = [scalarsOf(value, spec), scalarsOf(exact, spec)];
  const rounded = kept.find((one, index) => typeof one === "string" && typeof all[index] === "number");
  return rounded === undefined ? given(value) : tooLong(String(rounded));
}

function isMap({ type }: ListSpec): boolean {
  return type === "map" || type === "entries";
}

/** Returns the values of a list or a map, or the values of the fields in its elements. */
function scalarsOf(list: unknown, spec: ListSpec): unknown[] {
  if (spec.type === "values") return Array.isArray(list) ? list : [];
  const values = isMap(spec) && typeof list === "object" && list !== null ? Object.values(list) : [];
  if (spec.type === "map") return values;
  const names = Object.keys(spec.of);
  const all: readonly unknown[] = spec.type === "list" && Array.isArray(list) ? list : values;
  const elements = all as readonly (Readonly<Record<string, unknown>> | null)[];
  return elements.flatMap((element) => names.map((name) => element?.[name]));
}

/** Whether JSON parsers keep the value of the number in this text. */
export function isKeptByJson(text: string): boolean {
  return keptByJson(fractionOfText(text), text);
}

function keptByJson(exact: Fraction | null, text: string): boolean {
  const kept = fractionOfText(String(Number(text)));
  return exact !== null && kept !== null && kept.over * exact.under === exact.over * kept.under;
}
