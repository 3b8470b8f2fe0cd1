/**
 * How a record writes numbers, flags and UUIDs in another form than JSON's. Each value is read exactly or refused.
 * Stored state depends on the results of this file. A later release may accept more values, but must never read a value
 * otherwise.
 */

/**
 * How a number with more places than its field is rounded: to the nearest, with ties to the even digit or away from
 * zero; or cut off.
 */
export type Rounding = "half-even" | "half-up" | "down";
export const ROUNDINGS: readonly Rounding[] = ["half-even", "half-up", "down"];

/**
 * How a number is written where it is not a JSON number: its digits as text, or its units of the last place as base64.
 */
export type NumberText = "text" | "base64";
export const NUMBER_TEXTS: readonly NumberText[] = ["text", "base64"];

const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?$/;

/** Returns the integer of a text such as `12`, `-3` or `12.00`. Null for any other text, and beyond 2^53. */
export function integerOfText(text: string): number | null {
  return decimalUnits(text, 0, null);
}

/**
 * Returns a number's units of 10^-scale: `12.34` with scale 2 is 1234. Null for a text that is not a decimal number,
 * for more places without `rounding`, and for more than 2^53 units.
 */
export function decimalUnits(text: string, scale: number, rounding: Rounding | null): number | null {
  const [, minus, whole, fraction = ""] = NUMBER.exec(text) ?? [];
  if (whole === undefined) return null;
  const units = Number(whole + fraction.slice(0, scale).padEnd(scale, "0"));
  const rest = fraction.slice(scale);
  if (rounding === null && /[1-9]/.test(rest)) return null;
  const size = units + (rounding === null ? 0 : carry(units, rest, rounding));
  if (!Number.isSafeInteger(size)) return null;
  // Minus zero is zero.
  return minus === "" ? size : 0 - size;
}

const MOST_BYTES = 16;

/**
 * Returns the integer of base64: big-endian bytes in two's complement, as Kafka Connect writes a decimal's unscaled
 * value. Null for a text that is not the base64 of 1 to 16 bytes, with its padding, and beyond 2^53.
 */
export function base64Units(text: string): number | null {
  const bytes = Buffer.from(text, "base64");
  // The decoder skips other characters. So encode the bytes again: only a text that comes out the same was all base64.
  if (bytes.length === 0 || bytes.length > MOST_BYTES || bytes.toString("base64") !== text) return null;
  let units = BigInt.asIntN(8, BigInt(bytes[0] ?? 0));
  for (const byte of bytes.subarray(1)) units = units * 256n + BigInt(byte);
  const number = Number(units);
  return Number.isSafeInteger(number) ? number : null;
}

/** Returns the 0 or 1 that rounding adds to the units before the places `rest`. */
function carry(units: number, rest: string, rounding: Rounding): 0 | 1 {
  if (rounding === "down" || rest === "" || rest < "5") return 0;
  const isTie = /^50*$/.test(rest);
  return isTie && rounding === "half-even" && units % 2 === 0 ? 0 : 1;
}

/** Returns the shortest decimal number that equals a double, without an exponent. */
export function decimalText(value: number): string {
  const [, minus = "", whole = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value)) ?? [];
  if (exponent === "0") return String(value);
  const point = whole.length + Number(exponent);
  const digits = whole + fraction;
  if (point <= 0) return `${minus}0.${"0".repeat(-point)}${digits}`;
  const places = point < digits.length ? `.${digits.slice(point)}` : "";
  return `${minus}${digits.slice(0, point).padEnd(point, "0")}${places}`;
}

/** The value of each text of a flag. */
export const FLAG_TEXTS: Readonly<Record<string, boolean>> = {
  ...{ true: true, True: true, TRUE: true, "1": true },
  ...{ false: false, False: false, FALSE: false, "0": false },
};

/** Returns a text with the letters A to Z in lower case. Other letters stay as they are, in any language. */
export function lowerCase(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * Returns a scalar of JSON as text: a text as it is, a number as the shortest decimal number that equals it, `true` and
 * `false`. Null for anything else, and for a whole number that a double does not hold exactly.
 */
export function scalarText(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? null : decimalText(value);
}

/** Returns a UUID of 36 characters in lower case. Null for any other text. */
export function uuidOf(text: string): string | null {
  return /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(text) ? text.toLowerCase() : null;
}
