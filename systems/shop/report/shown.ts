import type { PresentedField } from "../../../core/measures/measure.ts";

/** Numbers of the report as text, independent of the machine's language: 1,234.50, 12.3k, +4.2 %. */

const NONE = "–";
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const hundredths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** A measure's value; `cents` are hundredths of what is shown. */
export function shownValue(value: PresentedField | undefined, unit: string): string {
  if (value === null || value === undefined || typeof value === "object") return NONE;
  // Integers beyond 2^53 come as text, whose digits all stay: Intl reads numbers of any length as text.
  const isInteger = Number.isSafeInteger(value) || (typeof value === "string" && /^-?\d+$/.test(value));
  if (isInteger)
    return unit === "cents" ? hundredths.format(`${BigInt(value)}E-2` as `${number}`) : whole.format(BigInt(value));
  return unit === "cents" ? hundredths.format(Number(value) / 100) : whole.format(Number(value));
}

/** A value of an axis. */
export function shownShort(value: number, unit: string): string {
  return short.format(unit === "cents" ? value / 100 : value);
}

/** A relative change; nothing to compare with is a dash. */
export function shownChange(change: number | null | undefined): string {
  if (change === null || change === undefined) return NONE;
  const percent = Math.abs(change * 100);
  const sign = change > 0 ? "+" : change < 0 ? "−" : "±";
  return `${sign}${percent >= 1_000 ? whole.format(percent) : percent.toFixed(1)} %`;
}

/** A share, 0 to 1. */
export function shownShare(share: number | null): string {
  return share === null ? NONE : `${(share * 100).toFixed(share === 1 ? 0 : 3)} %`;
}
