/** A rational number. `under` is above zero. */
export interface Fraction {
  readonly over: bigint;
  readonly under: bigint;
}

export function wholeFraction(value: bigint): Fraction {
  return { over: value, under: 1n };
}

/** Returns a number of 10^-scale units as a fraction. Null for undefined. */
export function scaledDown(units: bigint | undefined, scale: number): Fraction | null {
  return units === undefined ? null : { over: units, under: 10n ** BigInt(scale) };
}

/** Returns the exact value of a double. Null when it is not finite. */
export function fractionOfDouble(value: number): Fraction | null {
  if (!Number.isFinite(value)) return null;
  let [over, under] = [value, 1n];
  // Doubling is exact, and makes any double a whole number after at most 1,074 times.
  for (; !Number.isInteger(over); over *= 2) under *= 2n;
  return { over: BigInt(over), under };
}

/**
 * Returns the exact value of a decimal number as written, such as 0.07 or 7e-2. Null for any other text. Exponents have
 * at most three digits.
 */
export function fractionOfText(text: string): Fraction | null {
  const [, sign = "", whole = "", decimals = "", exponent = "0"] =
    /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text) ?? [];
  if (whole === "" && decimals === "") return null;
  const digits = BigInt(`${whole}${decimals}`) * (sign === "-" ? -1n : 1n);
  const scale = decimals.length - Number(exponent);
  return scale > 0 ? { over: digits, under: 10n ** BigInt(scale) } : wholeFraction(digits * 10n ** BigInt(-scale));
}

/** Returns the exact quotient. Null when the divisor is zero. */
export function divide(top: Fraction, bottom: Fraction): Fraction | null {
  if (bottom.over === 0n) return null;
  const sign = bottom.over < 0n ? -1n : 1n;
  return { over: sign * top.over * bottom.under, under: sign * top.under * bottom.over };
}

/** Two bits more than a double has: one to round by, and one that says whether any further bit is set. */
const KEPT_BITS = 55;

/**
 * Returns the double that is nearest to a fraction; if two are equally near, the even one (IEEE 754). Not for values
 * below 2^-1000.
 */
export function nearestDouble({ over, under }: Fraction): number {
  const size = over < 0n ? -over : over;
  const shift = KEPT_BITS - (bitsOf(size) - bitsOf(under));
  const [dividend, divisor] = shift > 0 ? [size << BigInt(shift), under] : [size, under << BigInt(-shift)];
  const sticky = dividend % divisor === 0n ? 0n : 1n;
  // Number() of a bigint rounds to nearest, ties to even; scaling by a power of two is exact.
  const rounded = Number(2n * (dividend / divisor) + sticky) * 2 ** (-shift - 1);
  return over < 0n ? -rounded : rounded;
}

/** Returns the least whole number that is not below a fraction. */
export function ceiling({ over, under }: Fraction): bigint {
  const cut = over / under;
  return over > 0n && over % under !== 0n ? cut + 1n : cut;
}

function bitsOf(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}
