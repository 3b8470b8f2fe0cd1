import type { FieldSpec } from "../../core/contract/field.ts";
import { base64Units, decimalText, FLAG_TEXTS, lowerCase, uuidOf } from "../../core/contract/record/record-value.ts";
import type { Seen } from "../sample/seen.ts";
import { endingIn } from "./names.ts";
import { decimalOf, integerOf } from "./numbers.ts";
import type { SchemaHint } from "./schema-hint.ts";
import {
  boundsOf,
  NEARLY_ALL,
  type TimesSeen,
  timesOfNumbers,
  timesOfNumberTexts,
  timesOfTexts,
  timesOfUnit,
} from "./times.ts";

/** The type of a field when it is present; or why the sample's values cannot be a field. */
export type Decided = { readonly spec: FieldSpec } | { readonly leftOut: string };

/** Names of numbers that identify something: nobody adds them up, and a text keeps leading zeros. */
const IDENTIFIES = endingIn(`
  id ids uuid guid key code zip zipcode postcode plz phone tel mobile number no nr ref reference hash token
  version iban sku ean gtin isbn barcode account
`);
const IS_OR_NOT = endingIn(`
  flag active enabled disabled deleted valid verified paid cancelled canceled success successful failed public
  private
`);
const ASKS = /^(is|has|was|can|should|with)_/;

/**
 * Names of fields whose texts are a closed list in most systems. Names and places are not among them, even frequent
 * ones, because new ones may come.
 */
const IS_KIND = endingIn(`
  type kind category status state action event channel method currency level severity priority result outcome op
  operation mode class unit direction side gender reason stage phase role scope tier plan format
`);

function isNamedLikeFlag(name: string): boolean {
  return ASKS.test(name) || IS_OR_NOT.test(name);
}

/** Whether a field's name means that it has a kind, such as `status`. */
export function isKind(name: string): boolean {
  return IS_KIND.test(name);
}

/** Whether a field's name means that it identifies something, such as `order_id`. */
export function isIdentifier(name: string): boolean {
  return IDENTIFIES.test(name);
}

/** Decides about a value without fields below it. `name` is the field's name. */
export function decide(seen: Seen, name: string, hint: SchemaHint | undefined): Decided {
  const { values, numbers, texts, booleans, lists } = seen;
  if (values === 0) return { leftOut: "always null" };
  if (hint?.type === "bytes" && hint.logicalType !== "decimal") return { leftOut: "bytes" };
  if (hint?.isBase64 === true && base64Of(texts, hint.scale ?? 0) === null)
    return { leftOut: `a decimal of ${hint.scale} places as base64: set decimal.handling.mode to string` };
  if (lists.length >= values * NEARLY_ALL) return { leftOut: "a list that is always empty" };
  const known = hint === undefined ? null : hintedSpec(seen, hint);
  if (known !== null) return { spec: known };
  if (booleans >= values * NEARLY_ALL) return { spec: { type: "flag" } };
  if (texts.length >= values * NEARLY_ALL) return { spec: ofTexts(texts, name) };
  if (numbers.length >= values * NEARLY_ALL) return ofNumbers(numbers, name);
  return mixed(seen, name);
}

function instantSpec(times: TimesSeen): FieldSpec {
  const { as, zone } = times;
  const ways = { ...(as === undefined ? {} : { as }), ...(zone === undefined ? {} : { zone }) };
  return { type: "instant", ...boundsOf(times), ...ways };
}

const AVRO_UNITS: Readonly<Record<string, "days" | "ms" | "us" | "ns">> = {
  date: "days",
  "timestamp-millis": "ms",
  "local-timestamp-millis": "ms",
  "timestamp-micros": "us",
  "local-timestamp-micros": "us",
  "timestamp-nanos": "ns",
  "local-timestamp-nanos": "ns",
};

/** Returns what the writer's schema says beyond the JSON; null if it says no more. */
function hintedSpec({ numbers, texts }: Seen, hint: SchemaHint): FieldSpec | null {
  const { type, logicalType, scale = 0, symbols } = hint;
  if (symbols !== undefined) return { type: "oneOf", values: symbols };
  const unit = AVRO_UNITS[logicalType ?? ""];
  const times = unit === undefined ? null : timesOfUnit(numbers, unit);
  if (times !== null) return instantSpec(times);
  if (hint.isBase64 === true) return base64Of(texts, scale);
  if (logicalType === "decimal") return scale === 0 ? integerOf(numbers) : decimalOf(numbers, { scale });
  return type === "double" || type === "float" ? decimalOf(numbers, { isDouble: true }) : null;
}

/**
 * Returns a decimal whose units are base64 in records; null if it has more places or digits than a decimal can have.
 */
function base64Of(texts: readonly string[], scale: number): FieldSpec | null {
  const numbers = texts.map((text) => (base64Units(text) ?? Number.NaN) / 10 ** scale);
  const spec = scale === 0 ? integerOf(numbers) : decimalOf(numbers, { scale });
  if (spec === null || (spec.type === "decimal" && spec.scale !== scale)) return null;
  // The units have the field's places, so nothing is rounded.
  const { min, max } = spec;
  return spec.type === "decimal"
    ? { type: "decimal", scale, min, max, as: "base64" }
    : { type: "integer", min, max, as: "base64" };
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;

function share(texts: readonly string[], is: (text: string) => boolean): number {
  return texts.filter(is).length / texts.length;
}

function ofTexts(texts: readonly string[], name: string): FieldSpec {
  const times = timesOfTexts(texts) ?? timesOfNumberTexts(texts, name);
  if (times !== null) return instantSpec(times);
  const isFlag = share(texts, (text) => Object.hasOwn(FLAG_TEXTS, text)) >= NEARLY_ALL;
  if (isFlag && (isNamedLikeFlag(name) || !share(texts, (text) => NUMBER.test(text))))
    return { type: "flag", as: "text" };
  if (!isIdentifier(name) && share(texts, (text) => NUMBER.test(text) && text.length <= 15) >= NEARLY_ALL) {
    const number = numberSpec(texts.filter((text) => NUMBER.test(text)).map(Number));
    if (number !== null) return { ...number, as: "text" };
  }
  if (share(texts, (text) => uuidOf(text) !== null) >= NEARLY_ALL) return { type: "text", max: 36, as: "uuid" };
  return (isKind(name) ? closedList(texts) : null) ?? { type: "text", max: lengthOf(texts) };
}

function numberSpec(numbers: readonly number[]) {
  return numbers.every(Number.isInteger) ? integerOf(numbers) : decimalOf(numbers);
}

function ofNumbers(numbers: readonly number[], name: string): Decided {
  const times = timesOfNumbers(numbers, name);
  if (times !== null) return { spec: instantSpec(times) };
  if (isNamedLikeFlag(name) && numbers.every((value) => value === 0 || value === 1))
    return { spec: { type: "flag", as: "text" } };
  const spec = numberSpec(numbers);
  if (spec !== null) return { spec };
  if (numbers.every((value) => Number.isInteger(value) && isSaid(value)))
    return { spec: { type: "text", max: lengthOf([]), as: "scalar" } };
  return { leftOut: "numbers with more digits than a JSON number keeps: have the producer write texts" };
}

/** Whether JSON writes a number with all of its digits, so that text and number are the same. */
function isSaid(value: number): boolean {
  return Math.abs(value) < 1e21;
}

const MOST_VALUES = 16;
const LEAST_REPEATS = 40;
const WORD = /^[\p{L}\p{N}][\p{L}\p{N} _./:+-]{0,39}$/u;

/**
 * Returns a closed list: a few words, each of which occurs so often that a new one is unlikely. Words that differ only
 * in upper and lower case count as one, in its most frequent form. Returns null if the texts are not such words.
 */
function closedList(texts: readonly string[]): FieldSpec | null {
  const forms = new Map<string, Map<string, number>>();
  for (const text of texts) {
    const counts = forms.get(lowerCase(text)) ?? new Map<string, number>();
    counts.set(text, (counts.get(text) ?? 0) + 1);
    forms.set(lowerCase(text), counts);
    if (forms.size > MOST_VALUES) return null;
  }
  const words = [...forms.values()].map((counts) => ({
    word: [...counts].reduce((best, one) => (one[1] > best[1] ? one : best))[0],
    count: [...counts.values()].reduce((sum, count) => sum + count, 0),
    isOne: counts.size === 1,
  }));
  if (words.length < 2 || texts.length < words.length * LEAST_REPEATS) return null;
  if (!words.every(({ word, count }) => count >= 3 && WORD.test(word))) return null;
  const as = words.every(({ isOne }) => isOne) ? {} : { as: "any-case" as const };
  return { type: "oneOf", values: words.map(({ word }) => word).sort(), ...as };
}

const LENGTHS = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576];

/** Returns the greatest length of a text in UTF-16 units: at least twice the longest of the sample. */
function lengthOf(texts: readonly string[]): number {
  const longest = texts.reduce((most, text) => Math.max(most, text.length), 0);
  return LENGTHS.find((length) => length >= 2 * longest) ?? 2 * longest;
}

/** Decides about values of several kinds. They are exact if one field type reads them all. */
function mixed(seen: Seen, name: string): Decided {
  const { numbers, texts, booleans, values } = seen;
  const isFlag =
    texts.every((text) => Object.hasOwn(FLAG_TEXTS, text)) && numbers.every((value) => value === 0 || value === 1);
  if (numbers.length + texts.length + booleans === values) {
    if (booleans > 0 && isFlag) return { spec: { type: "flag", as: "text" } };
    const asTexts = [...texts, ...numbers.map(String)];
    if (booleans === 0 && texts.every((text) => NUMBER.test(text))) {
      const spec = timesOfNumberTexts(asTexts, name);
      const number = spec === null ? numberSpec(asTexts.map(Number)) : null;
      if (spec !== null) return { spec: instantSpec(spec) };
      if (number !== null) return { spec: { ...number, as: "text" } };
    }
    const max = lengthOf([...texts, ...numbers.map(decimalText)]);
    if (numbers.every(isSaid)) return { spec: { type: "text", max, as: "scalar" } };
  }
  return { leftOut: `values of several kinds: ${kindsOf(seen)}` };
}

/** Returns the kinds of values with their shares, the most frequent first. */
export function kindsOf(seen: Seen): string {
  const kinds = [
    ["text", seen.texts.length],
    ["number", seen.numbers.length],
    ["boolean", seen.booleans],
    ["object", seen.objects],
    ["list", seen.lists.length],
  ] as const;
  return kinds
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1])
    .map(([kind, count]) => `${kind} in ${percent(count, seen.values)}`)
    .join(", ");
}

/** Returns a share for people, such as `99.8 %`. It is 0 or 100 only if the share is exactly that. */
export function percent(count: number, of: number): string {
  const share = of === 0 ? 0 : (count / of) * 100;
  const text = share.toFixed(1).replace(/\.0$/, "");
  if (text === "0" && count > 0) return "under 0.1 %";
  return text === "100" && count < of ? "over 99.9 %" : `${text} %`;
}
