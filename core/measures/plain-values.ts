import type { PlainFound, PlainTerms, Presented } from "./measure.ts";

/**
 * How a proof presents what DuckDB found. None of these formulas is an answer's: a wrong one there has to differ from
 * what is computed here, so nothing is imported from where answers are made.
 */

/** An integer aggregate; DuckDB gives narrow types as numbers and wide ones as bigint. */
export function plainInteger(found: PlainFound, column: string): bigint | undefined {
  const value = found.aggregate(column) as bigint | number | null | undefined;
  return value === null || value === undefined ? undefined : BigInt(value);
}

const LARGEST = 2n ** 53n - 1n;

/** A number of JSON for what all its readers keep, text beyond. */
export function plainPresented(value: bigint | undefined): number | string | null {
  if (value === undefined) return null;
  return value <= LARGEST && value >= -LARGEST ? Number(value) : String(value);
}

/** How many units of a decimal with this many places make one. */
export function plainUnits(scale: number): bigint {
  return BigInt(`1${"0".repeat(scale)}`);
}

/**
 * This many units of a decimal number: with fifteen digits at most all readers of JSON keep it as a number, else it is
 * text.
 */
export function plainDecimal(units: bigint | undefined, scale: number): number | string | null {
  if (units === undefined || scale === 0) return plainPresented(units);
  const written = plainDecimalText(String(units), scale);
  return String(units).replace("-", "").length <= 15 ? Number(written) : written;
}

/** The digits of a whole number with a point before the last `scale` of them. */
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

/** A presented value as a quotient of whole numbers, by the binary digits of a double; null when it is not a number. */
export function plainTerms(value: Presented): PlainTerms | null {
  if (typeof value === "string" && /^-?\d+$/.test(value)) return [BigInt(value), 1n];
  const number = value === null || value === "" ? Number.NaN : Number(value);
  if (!Number.isFinite(number)) return null;
  const [whole = "0", fraction = ""] = Math.abs(number).toString(2).split(".");
  const size = BigInt(`0b${whole}${fraction}`);
  return [number < 0 ? -size : size, 1n << BigInt(fraction.length)];
}

/** As `plainTerms`, also of a decimal number that is written as text. */
export function plainTermsOf(value: Presented): PlainTerms | null {
  const [, whole = "", places = ""] = typeof value === "string" ? (/^(-?\d+)\.(\d+)$/.exec(value) ?? []) : [];
  return places === "" ? plainTerms(value) : [BigInt(`${whole}${places}`), plainUnits(places.length)];
}

/**
 * A quotient as the nearest double: its decimal digits are written down as far as two neighbouring doubles could be
 * told apart, and a last one for what follows, and the language reads them. Null for a division by zero.
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
