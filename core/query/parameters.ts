import { wholeNumberOf } from "../whole-number.ts";

/** Notes that a parameter is wrong. All that are wrong are named in one refusal. */
export type Fail = (parameter: string, problem: string, allowed: string) => void;

export interface NumberRange {
  /** 1 when absent. */
  readonly least?: number;
  readonly most: number;
  readonly byDefault: number;
}

/** A whole number in a range; `byDefault` when it is not given, and when it is wrong, which `fail` is told. */
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

/** What a client sent, for a sentence: quoted, and cut when it is long. */
export function shown(text: string): string {
  return text.length > 60 ? `"${text.slice(0, 60)}…"` : `"${text}"`;
}
