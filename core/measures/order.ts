import type { Presented } from "./measure.ts";

/**
 * Compares two values of a column, for the order of an answer's rows: null last in both directions; numbers, also those
 * that are presented as text, by value and before other text; text by code point. The order is total: only equal values
 * compare as 0, so "007" and "7" are ordered too.
 */
export function comparePresented(a: Presented, b: Presented, descending: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const order = compareValues(a, b);
  return descending ? -order : order;
}

function compareValues(a: NonNullable<Presented>, b: NonNullable<Presented>): number {
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== null && right !== null) {
    if (left < right) return -1;
    if (left > right) return 1;
  } else if (left !== null || right !== null) return left !== null ? -1 : 1;
  return compareText(String(a), String(b)) || compareText(typeof a, typeof b);
}

/**
 * Returns a value as a number or bigint, or null if it is not one. JavaScript compares a bigint with a number by value,
 * so long integers and fractions have one order.
 */
function numberOf(value: NonNullable<Presented>): number | bigint | null {
  if (typeof value === "number") return value;
  return typeof value === "string" && /^-?\d{1,40}$/.test(value) ? BigInt(value) : null;
}

/** Compares text by code point, which is also the order of its UTF-8 bytes and DuckDB's. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)];
    if (left !== right) return rankOf(left) - rankOf(right);
  }
  return a.length - b.length;
}

const FIRST_SURROGATE = 0xd800;
const AFTER_SURROGATES = 0xe000;

/** Returns the rank of a UTF-16 unit. A surrogate is half of a code point that is above all code points of one unit. */
function rankOf(unit: number): number {
  return unit >= FIRST_SURROGATE && unit < AFTER_SURROGATES ? unit + 0x1_0000 : unit;
}
