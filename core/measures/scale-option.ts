import type { Described } from "../contract/described.ts";
import type { Sql } from "../contract/sql.ts";
import type { ScaleOf } from "./measure.ts";

/** What a measure of numbers may be given. */
export interface NumberOptions extends Described {
  /** A word for people. */
  readonly unit?: string;
  /**
   * How many decimal places the expression's integers have. Absent: as many as the decimal fields that it is made of.
   */
  readonly scale?: number | undefined;
}

const MOST_PLACES = 18;

/** Hundredths by their name: a measure that is called so over a decimal field of two places is answered in them. */
const HUNDREDTHS: ReadonlySet<string> = new Set(["cent", "cents", "pence", "penny"]);

/** The places that a measure answers. Throws RangeError for a scale that is none. */
export function chosenScale(input: Sql, { unit = "", scale }: NumberOptions, scaleOf: ScaleOf): number {
  if (scale === undefined) {
    const found = scaleOf(input);
    return found === 2 && isHundredths(unit) ? 0 : found;
  }
  if (!Number.isInteger(scale) || scale < 0 || scale > MOST_PLACES)
    throw new RangeError(`scale is a whole number from 0 to ${MOST_PLACES}, not ${String(scale)}`);
  return scale;
}

/** Whether a unit says that numbers are in hundredths of a currency's unit. */
export function isHundredths(unit: string): boolean {
  return HUNDREDTHS.has(String(unit).toLowerCase());
}

/** A scale for a measure's specification: only where it was given, so that other specifications are as they were. */
export function scaleSpec(scale: number | undefined): { readonly scale?: number } {
  return scale === undefined ? {} : { scale };
}
