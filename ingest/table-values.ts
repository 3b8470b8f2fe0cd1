import type { Field, FieldSpec } from "../core/field.ts";
import { bare, isRequired } from "../core/fields.ts";
import { type Fraction, fractionOfText } from "../core/fraction.ts";
import { parseTime } from "../core/time.ts";
import type { TableValue } from "../store/table-rows.ts";

type ListSpec = Extract<FieldSpec, { type: "list" }>;

/** A table's value as its field wants it (undefined: left out), or why none of the field's values is exactly this one. */
export type EventValue =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly reason: string };

/**
 * Reads a table's value. What does not look like a value of the field's type stays text, for the contract to refuse in its own words. A number that
 * would have to be rounded is refused here. A missing text is an empty one where a text is required, every other missing value is left out.
 */
export function eventValue(field: Field, value: TableValue): EventValue {
  const spec = bare(field.spec);
  const isText = spec.type === "text" || spec.type === "oneOf";
  if (value === null) return given(isText && isRequired(field) ? "" : undefined);
  if (typeof value === "number" && !Number.isFinite(value))
    return { ok: false, reason: `${value} is no value; a missing one is null` };
  if (isText) return given(String(value));
  const text = String(value).trim();
  switch (spec.type) {
    case "flag":
      return given({ true: true, false: false }[text.toLowerCase()] ?? value);
    case "integer":
      return numberOf(text, 0) ?? given(value);
    case "instant":
      return instantOf(text) ?? given(value);
    case "decimal":
      return numberOf(text, spec.scale) ?? given(value);
    default:
      return listOf(text, spec) ?? given(value);
  }
}

function given(value: unknown): { readonly ok: true; readonly value: unknown } {
  return { ok: true, value };
}

/** The number that a text says, if it has at most `scale` decimal places and JSON keeps all its digits. Null: it is no number. */
function numberOf(text: string, scale: number): EventValue | null {
  const exact = fractionOfText(text);
  if (exact === null) return null;
  if ((exact.over * 10n ** BigInt(scale)) % exact.under !== 0n)
    return {
      ok: false,
      reason: scale === 0 ? `${text} is no whole number` : `${text} has more than ${scale} decimal places`,
    };
  return keptByJson(exact, text)
    ? given(Number(text))
    : { ok: false, reason: `${text} has more digits than a number of JSON keeps` };
}

/** Epoch milliseconds of a time, finer digits cut off, or as they are. Null: it is neither. */
function instantOf(text: string): EventValue | null {
  const time = parseTime(text);
  return time === null ? numberOf(text, 0) : given(time);
}

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.]*(?:[eE][+-]?\d+)?/g;

/** A list's JSON. A number that would have to be rounded is refused where its elements have a field. Null: it is no JSON. */
function listOf(text: string, { of }: ListSpec): EventValue | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return /\b(NaN|Infinity)\b/.test(text) ? { ok: false, reason: "NaN and Infinity are no values" } : null;
  }
  // The same JSON with numbers that would be rounded as texts.
  const exact: unknown = JSON.parse(
    text.replace(STRING_OR_NUMBER, (one) =>
      one.startsWith('"') || keptByJson(fractionOfText(one), one) ? one : JSON.stringify(one),
    ),
  );
  const names = Object.keys(of);
  const [all, kept] = [scalarsOf(value, names), scalarsOf(exact, names)];
  const rounded = kept.find((one, index) => typeof one === "string" && typeof all[index] === "number");
  return rounded === undefined
    ? given(value)
    : { ok: false, reason: `${rounded} has more digits than a number of JSON keeps` };
}

/** What the elements of a list have in the fields of these names. */
function scalarsOf(list: unknown, names: readonly string[]): unknown[] {
  const elements = Array.isArray(list) ? (list as readonly (Readonly<Record<string, unknown>> | null)[]) : [];
  return elements.flatMap((element) => names.map((name) => element?.[name]));
}

/** Whether the double that JSON's readers make of a number is written with the same digits. */
function keptByJson(exact: Fraction | null, text: string): boolean {
  const kept = fractionOfText(String(Number(text)));
  return exact !== null && kept !== null && kept.over * exact.under === exact.over * kept.under;
}
