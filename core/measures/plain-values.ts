import type { PlainFound, PlainTerms, Presented } from "./measure.ts";

/**
 * Presents the values that DuckDB returned, for a proof. None of these formulas is shared with answers: an error in an
 * answer's formula has to show as a difference, so nothing is imported from the code that makes answers.
 */

/** Returns an integer aggregate. DuckDB returns narrow types as numbers and wide ones as bigint. */
export function plainInteger(found: PlainFound, column: string): bigint | undefined {
  const value = found.aggregate(column) as bigint | number | null | undefined;
  return value === null || value === undefined ? undefined : BigInt(value);
}

const LARGEST = 2n ** 53n - 1n;

/** Returns a JSON number if all JSON readers keep it, otherwise text. */
export function plainPresented(value: bigint | undefined): number | string | null {
  if (value === undefined) return null;
  return value <= LARGEST && value >= -LARGEST ? Number(value) : String(value);
}

/** Returns how many units of a decimal with this many places make 1. */
export function plainUnits(scale: number): bigint {
  return BigInt(`1${"0".repeat(scale)}`);
}

/**
 * Returns a decimal number of this many units: as a number with at most fifteen digits, which all readers of JSON keep,
 * otherwise as text.
 */
export function plainDecimal(units: bigint | undefined, scale: number): number | string | null {
  if (units === undefined || scale === 0) return plainPresented(units);
  const written = plainDecimalText(String(units), scale);
  return String(units).replace("-", "").length <= 15 ? Number(written) : written;
}

/** Returns the digits of a whole number with a point before the last `scale` of them. */
export function plainDecimalText(digits: string, scale: number): string {
  const [sign, size] = digits.startsWith("-") ? ["-", BigInt(digits.slice(1))] : ["", BigInt(digits)];
  const [whole, rest] = [size / plainUnits(scale), size % plainUnits(scale)];
  return `${sign}${whole}.${String(rest + plainUnits(scale)).slice(1)}`;
}

/** A value that DuckDB wrote as JSON. */
export function plainPicked(json: string): Presented {
  const value = JSON.parse(json) as Presented;
  return typeof value === "number" && Math.abs(value) > Number(LARGEST) && !/[.eE]/.test(json) ? json : value;
}

/**
 * Returns a presented value as a quotient of whole numbers, by the binary digits of a double. Null if it is not a
 * number.
 */
export function plainTerms(value: Presented): PlainTerms | null {
  if (typeof value === "string" && /^-?\d+$/.test(value)) return [BigInt(value), 1n];
  const number = value === null || value === "" ? Number.NaN : Number(value);
  if (!Number.isFinite(number)) return null;
  const [whole = "0", fraction = ""] = Math.abs(number).toString(2).split(".");
  const size = BigInt(`0b${whole}${fraction}`);
  return [number < 0 ? -size : size, 1n << BigInt(fraction.length)];
}

/** The same as `plainTerms`, also for a decimal number that is written as text. */
export function plainTermsOf(value: Presented): PlainTerms | null {
  const [, whole = "", places = ""] = typeof value === "string" ? (/^(-?\d+)\.(\d+)$/.exec(value) ?? []) : [];
  return places === "" ? plainTerms(value) : [BigInt(`${whole}${places}`), plainUnits(places.length)];
}

/**
 * Returns a quotient as the nearest double. Writes enough decimal digits to tell two neighbouring doubles apart, and
 * one more digit for the rest, and lets JavaScript read them. Null for a division by zero.
 */
export function plainQuotient([over, under]: PlainTerms): number | null {
  if (under === 0n) return null;
  const size = (value: bigint) => (value < 0n ? -value : value);
  const [dividend, divisor] = [size(over), size(under)];
  // The middle between two doubles near 1/divisor has at most this many decimals.
  const decimals = divisor.toString(2).length + 56;
  const scaled = dividend * 10n ** BigInt(decimals);
  const digits = (scaled / divisor).toString().padStart(decimals + 1, "0");
  const written = `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}${scaled % divisor === 0n ? "" : "1"}`;
  return Number(over < 0n === under < 0n || over === 0n ? written : `-${written}`);
}
