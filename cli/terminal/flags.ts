import { InvalidArgumentError } from "commander";
import { parseDuration, parseTime } from "../../core/time.ts";
import { wholeNumberOf } from "../../core/whole-number.ts";

/** Parsers of flag values. Each returns the value, or throws an error that says what the text must be. */

/** Returns a parser of whole numbers that are at least `least`. */
export function wholeNumberFrom(least: number): (text: string) => number {
  return (text) => {
    const value = wholeNumberOf(text);
    if (value !== null && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least}.`);
  };
}

const MOST_PARTITION = 999_999_999;

/** Parses the number of a partition, from 0. */
export function partition(text: string): number {
  const value = wholeNumberOf(text);
  if (value !== null && value <= MOST_PARTITION) return value;
  throw new InvalidArgumentError("It must be a partition's number, from 0.");
}

export function duration(text: string): number {
  const value = parseDuration(text);
  if (value !== null) return value;
  throw new InvalidArgumentError("It must be a duration such as 30s, 5m, 1h or 1d.");
}

/** Parses a time, or how long ago it was: `2026-01-31T12:00:00Z`, or `2h`. Returns epoch milliseconds. */
export function since(text: string): number {
  const agoMs = parseDuration(text);
  const value = agoMs === null ? parseTime(text) : Date.now() - agoMs;
  if (value !== null) return value;
  throw new InvalidArgumentError("It must be a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h.");
}

/** Parses a percentage: "1%" is 0.01. */
export function percent(text: string): number {
  const value = Number(text.slice(0, -1));
  if (/^\d+(\.\d+)?%$/.test(text) && value <= 100) return value / 100;
  throw new InvalidArgumentError("It must be a percentage such as 0.1% or 50%.");
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a number above 0.");
}

/** Returns epoch milliseconds. */
export function instant(text: string): number {
  const value = parseTime(text);
  if (value !== null) return value;
  throw new InvalidArgumentError("It must be a time such as 2026-01-31T12:00:00Z; UTC unless it names a zone.");
}
