import { wholeNumberOf } from "../whole-number.ts";

/** Reports a wrong parameter. One refusal names all wrong parameters. */
export type Fail = (parameter: string, problem: string, allowed: string) => void;

export interface NumberRange {
  /** Absent: 1. */
  readonly least?: number;
  readonly most: number;
  readonly byDefault: number;
}

/**
 * Returns a whole number in a range. Returns `byDefault` if it is absent, and if it is wrong, which is reported to
 * `fail`.
 */
export function wholeNumber(
  parameter: string,
  text: string | undefined,
  { least = 1, most, byDefault }: NumberRange,
  fail: Fail,
): number {
  if (text === undefined) return byDefault;
  const value = wholeNumberOf(text);
  if (value !== null && value >= least && value <= most) return value;
  fail(parameter, `${shown(text)} is not a whole number in the range`, `${least} to ${most}`);
  return byDefault;
}

/** Returns a client's text for a sentence: quoted, and cut off when it is long. */
export function shown(text: string): string {
  return text.length > 60 ? `"${text.slice(0, 60)}…"` : `"${text}"`;
}
