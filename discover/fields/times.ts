import { epochMs, isoMs, type WrittenAs } from "../../core/contract/record/record-time.ts";
import { endingIn } from "./names.ts";

/**
 * How records write an instant (`as` absent: a JSON number of milliseconds), and the earliest and latest instant in
 * epoch milliseconds.
 */
export interface TimesSeen {
  readonly as?: WrittenAs;
  readonly zone?: "Z";
  readonly from: number;
  readonly to: number;
}

const NAMED_SO = endingIn(`
  at on time timestamp ts date datetime day when instant epoch created updated modified occurred published
  received processed started ended start begin end since until expires expiry seen ms millis micros nanos
`);
const BEGINS_SO = /^(time|date|ts)(_|$)/;

/** Whether a field of this name is often a time. */
export function isNamedLikeTime(name: string): boolean {
  return NAMED_SO.test(name) || BEGINS_SO.test(name);
}

/** The share of its values that a field has to read. Other values are refused and counted. */
export const NEARLY_ALL = 0.99;

const UNITS = [
  { as: "s", perMs: 1e-3 },
  { as: "ms", perMs: 1 },
  { as: "us", perMs: 1e3 },
  { as: "ns", perMs: 1e6 },
] as const;
const EARLIEST_MS = Date.UTC(2000, 0, 1);
const LATEST_MS = Date.UTC(2100, 0, 1);

/** Returns the unit of these numbers if nearly all of them are instants between 2000 and 2100; else null. */
export function timesOfNumbers(numbers: readonly number[], name: string): TimesSeen | null {
  if (numbers.length === 0 || !isNamedLikeTime(name)) return null;
  for (const { as, perMs } of UNITS) {
    const read = numbers.filter((value) => value >= EARLIEST_MS * perMs && value < LATEST_MS * perMs);
    if (read.length < numbers.length * NEARLY_ALL) continue;
    const ends = endsOf(read.map((value) => Math.floor(value / perMs)));
    return as === "ms" && read.every((value) => Number.isInteger(value)) ? ends : { as, ...ends };
  }
  return null;
}

/** As `timesOfNumbers`, for numbers that are written as texts. */
export function timesOfNumberTexts(texts: readonly string[], name: string): TimesSeen | null {
  const numbers = texts.map((text) => (epochMs(text, "ns") === null ? Number.NaN : Number(text)));
  const found = timesOfNumbers(numbers, name);
  return found === null ? null : { ...found, as: found.as ?? "ms" };
}

/**
 * Returns how these texts are instants if nearly all of them are ISO 8601 dates or date-times; else null. Texts without
 * an offset are taken for UTC.
 */
export function timesOfTexts(texts: readonly string[]): TimesSeen | null {
  if (texts.length === 0) return null;
  const read = texts.map((text) => isoMs(text, "Z")).filter((ms) => ms !== null);
  if (read.length < texts.length * NEARLY_ALL || read.length === 0) return null;
  const namesAll = texts.every((text) => isoMs(text, "Z") === null || isoMs(text, null) !== null);
  return { as: "iso", ...(namesAll ? {} : { zone: "Z" as const }), ...endsOf(read) };
}

/** As `timesOfNumbers`, for instants whose unit is known. */
export function timesOfUnit(numbers: readonly number[], as: Exclude<WrittenAs, "iso">): TimesSeen | null {
  const read = numbers.map((value) => epochMs(String(value), as)).filter((ms) => ms !== null);
  if (read.length === 0) return null;
  return { ...(as === "ms" ? {} : { as }), ...endsOf(read) };
}

function endsOf(times: readonly number[]): { readonly from: number; readonly to: number } {
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const time of times) {
    if (time < from) from = time;
    if (time > to) to = time;
  }
  return { from, to };
}

const MOST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Returns bounds for instants: 2000 to 2100, or whole centuries that contain all of `seen`. */
export function boundsOf(seen: Pick<TimesSeen, "from" | "to">): { readonly from: string; readonly to: string } {
  const century = (ms: number) => Math.floor(new Date(ms).getUTCFullYear() / 100) * 100;
  const least = seen.from < EARLIEST_MS ? Math.max(century(seen.from), 1) : 2000;
  const text = (year: number) => `${String(year).padStart(4, "0")}-01-01T00:00:00Z`;
  if (seen.to <= LATEST_MS) return { from: text(least), to: text(2100) };
  const most = century(Math.min(seen.to, MOST_MS)) + 100;
  return { from: text(least), to: most > 9_999 ? "9999-12-31T23:59:59.999Z" : text(most) };
}
