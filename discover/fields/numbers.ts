import type { FieldSpec } from "../../core/contract/field.ts";
import { decimalText } from "../../core/contract/record/record-value.ts";
import { NEARLY_ALL } from "./times.ts";

/** A number's bounds are this many times what the sample has. */
const ROOM = 100;
const LEAST_BOUND = 1_000;
const MOST_SCALE = 6;
/** The most digits of a decimal's units. */
const MOST_DIGITS = 15;
const LEAST_SCALE = 2;

/** Returns a power of ten far above these numbers. */
function boundOf(numbers: readonly number[], most: number): number {
  let largest = 0;
  for (const value of numbers) largest = Math.max(largest, Math.abs(value));
  let bound = LEAST_BOUND;
  while (bound < largest * ROOM && bound < most) bound *= 10;
  return Math.min(bound, most);
}

function hasNegative(numbers: readonly number[]): boolean {
  return numbers.some((value) => value < 0);
}

/**
 * Returns an integer field with bounds well above the sample; null if some numbers are not integers that a double keeps
 * exactly.
 */
export function integerOf(numbers: readonly number[]): Extract<FieldSpec, { type: "integer" }> | null {
  const whole = numbers.filter(Number.isSafeInteger);
  if (whole.length < numbers.length * NEARLY_ALL || whole.length === 0) return null;
  const max = boundOf(whole, Number.MAX_SAFE_INTEGER);
  return { type: "integer", min: hasNegative(whole) ? -max : 0, max };
}

/** Returns the least number of decimal places that a number is written with. */
function placesOf(value: number): number {
  const text = decimalText(value);
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.length - point - 1;
}

/** What is known about a number beyond its values: the places of an Avro decimal, or that it is a double. */
export interface KnownNumber {
  readonly scale?: number;
  readonly isDouble?: boolean;
}

/**
 * Returns a decimal field with the places of these numbers. Numbers with more places than a decimal can have, such as
 * computed doubles, are rounded. Returns null if the numbers are too large for a decimal.
 */
export function decimalOf(
  numbers: readonly number[],
  known: KnownNumber = {},
): Extract<FieldSpec, { type: "decimal" }> | null {
  const fitting = numbers.filter((value) => Math.abs(value) <= 10 ** (MOST_DIGITS - LEAST_SCALE));
  if (fitting.length === 0 || fitting.length < numbers.length * NEARLY_ALL) return null;
  const places = fitting.map(placesOf);
  const within = places.filter((count) => count <= MOST_SCALE);
  // If most numbers have too many places, they are computed doubles: then as many places are kept as possible.
  const usual = within.length < places.length / 2 ? MOST_SCALE : within.reduce((a, b) => Math.max(a, b), 0);
  const wanted = Math.min(MOST_SCALE, Math.max(LEAST_SCALE, known.scale ?? usual));
  const largest = boundOf(fitting, 10 ** (MOST_DIGITS - LEAST_SCALE));
  const digits = Math.round(Math.log10(largest));
  const scale = Math.min(wanted, MOST_DIGITS - digits);
  const isRounded = known.isDouble === true || within.length < places.length || scale < (known.scale ?? usual);
  return {
    type: "decimal",
    scale,
    min: hasNegative(fitting) ? -largest : 0,
    max: largest,
    ...(isRounded ? { round: "half-even" as const } : {}),
  };
}
