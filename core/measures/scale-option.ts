import type { Described } from "../contract/described.ts";
import type { Sql } from "../contract/sql.ts";
import type { ScaleOf } from "./measure.ts";

/** The options of a measure of numbers. */
export interface NumberOptions extends Described {
  /** The unit's name, for people. */
  readonly unit?: string;
  /**
   * The number of decimal places of the expression's integers. Absent: the places of the decimal fields in the
   * expression.
   */
  readonly scale?: number | undefined;
}

const MOST_PLACES = 18;

/** Units that are hundredths: a measure with such a unit over a decimal field of two places is answered in them. */
const HUNDREDTHS: ReadonlySet<string> = new Set(["cent", "cents", "pence", "penny"]);

/** Returns the decimal places of a measure's answers. Throws RangeError for an invalid scale. */
export function chosenScale(input: Sql, { unit = "", scale }: NumberOptions, scaleOf: ScaleOf): number {
  if (scale === undefined) {
    const found = scaleOf(input);
    return found === 2 && isHundredths(unit) ? 0 : found;
  }
  if (!Number.isInteger(scale) || scale < 0 || scale > MOST_PLACES)
    throw new RangeError(`scale is a whole number from 0 to ${MOST_PLACES}, not ${String(scale)}`);
  return scale;
}

/** Whether a unit means hundredths of a currency's unit. */
export function isHundredths(unit: string): boolean {
  return HUNDREDTHS.has(String(unit).toLowerCase());
}

/**
 * Returns a scale for a measure's specification. Empty if none was given, so that such specifications do not change.
 */
export function scaleSpec(scale: number | undefined): { readonly scale?: number } {
  return scale === undefined ? {} : { scale };
}
