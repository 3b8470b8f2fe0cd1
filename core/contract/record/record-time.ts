import { zonedMs } from "./zone-time.ts";

/**
 * How a record writes an instant. Digits below a millisecond are cut off, towards the past. Stored state depends on the
 * results of this file. A later release may accept more texts, but must never read a text otherwise.
 */
export type WrittenAs = "s" | "ms" | "us" | "ns" | "days" | "iso";

export const WRITTEN: readonly WrittenAs[] = ["s", "ms", "us", "ns", "days", "iso"];

/** The shift of the decimal point from a unit to epoch milliseconds. */
const SHIFT: Readonly<Record<Exclude<WrittenAs, "iso" | "days">, number>> = { s: 3, ms: 0, us: -3, ns: -6 };

const DAY_MS = 86_400_000;
const NUMBER = /^(-?)(0|[1-9]\d*)(?:\.(\d+))?$/;

/**
 * Returns epoch milliseconds of a decimal number of a unit since 1970. Days have to be whole. Null for any other text,
 * and for a number that a double cannot hold exactly.
 */
export function epochMs(text: string, unit: Exclude<WrittenAs, "iso">): number | null {
  const [, minus, whole, fraction = ""] = NUMBER.exec(text) ?? [];
  if (whole === undefined) return null;
  if (unit === "days") {
    const ms = Number(minus + whole) * DAY_MS;
    // Minus zero is zero.
    return /[1-9]/.test(fraction) || !Number.isSafeInteger(ms) ? null : ms + 0;
  }
  const digits = whole + fraction;
  const point = whole.length + SHIFT[unit];
  const ms = Number(point <= 0 ? "0" : digits.slice(0, point).padEnd(point, "0"));
  const isCut = /[1-9]/.test(digits.slice(Math.max(0, point)));
  if (!Number.isSafeInteger(ms)) return null;
  // Minus zero is zero.
  return minus === "" ? ms : 0 - ms - (isCut ? 1 : 0);
}

const ISO =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?$/;

/**
 * Returns epoch milliseconds of an ISO 8601 date (its first instant) or date-time. `zone`, an offset such as "Z" or
 * "+02:00" or the name of a zone, is used for a text without an offset. If it is null, such a text is refused. Returns
 * null also for a day or a time of day that does not exist, for a leap second, and for a local time that the zone skips
 * or has twice.
 */
export function isoMs(text: string, zone: string | null): number | null {
  const [, year, month, day, hours = "0", minutes = "0", seconds = "0", fraction = "", offset = zone] =
    ISO.exec(text) ?? [];
  if (year === undefined || offset === null || offset === undefined) return null;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  if (date.getUTCMonth() + 1 !== Number(month) || date.getUTCDate() !== Number(day)) return null;
  if (Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) return null;
  const clock = (Number(hours) * 60 + Number(minutes)) * 60_000 + Number(seconds) * 1_000;
  const localMs = date.getTime() + clock + Number(`${fraction}000`.slice(0, 3));
  const ahead = offsetMs(offset);
  if (ahead !== null) return localMs - ahead;
  return offset === zone ? zonedMs(localMs, offset) : null;
}

/**
 * Returns how far an offset is ahead of UTC, in milliseconds: `Z`, `+02`, `+0200` or `+02:00`. Null for any other text.
 */
export function offsetMs(offset: string): number | null {
  if (/^z$/i.test(offset)) return 0;
  const [, sign, hours, minutes = "0"] = /^([+-])(\d{2})(?::?(\d{2}))?$/.exec(offset) ?? [];
  if (hours === undefined || Number(hours) > 23 || Number(minutes) > 59) return null;
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
}

/**
 * Returns epoch milliseconds as a record writes them. `epochMs` and `isoMs` read the result back. Nanoseconds are text,
 * because a JSON number of them is not exact.
 */
export function writtenInstant(ms: number, as: WrittenAs): number | string {
  switch (as) {
    case "s":
      return ms / 1_000;
    case "ms":
      return ms;
    case "days":
      return ms / DAY_MS;
    case "us":
      return ms * 1_000;
    case "ns":
      return ms === 0 ? "0" : `${ms}000000`;
    case "iso":
      return new Date(ms).toISOString();
  }
}
