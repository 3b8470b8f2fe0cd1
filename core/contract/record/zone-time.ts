import { Temporal } from "temporal-polyfill";

/** Whether a text is the name of a time zone, such as Europe/Berlin. */
export function isZoneName(text: string): boolean {
  try {
    // An offset such as +02:00 is not a name.
    return /^[A-Za-z]/.test(text) && new Intl.DateTimeFormat("en", { timeZone: text }) !== null;
  } catch {
    return false;
  }
}

const HOUR_MS = 3_600_000;
const MOST_KEPT = 100_000;
/**
 * By zone and number of the local hour: how far the local time is ahead of UTC. Null if that is not the same for the
 * whole hour.
 */
const kept = new Map<string, Map<number, number | null>>();

/**
 * Returns epoch milliseconds of a local time in a zone. `localMs` is the result if the zone were UTC. Null for a local
 * time that clocks skip, or show twice, because its instant is not certain. Depends on the time zone data of the
 * JavaScript engine.
 */
export function zonedMs(localMs: number, zone: string): number | null {
  const hour = Math.floor(localMs / HOUR_MS);
  let hours = kept.get(zone);
  if (hours === undefined || hours.size > MOST_KEPT) {
    hours = new Map();
    kept.set(zone, hours);
  }
  let ahead = hours.get(hour);
  if (ahead === undefined) {
    ahead = aheadOf(hour * HOUR_MS, zone);
    if (ahead !== null && ahead !== aheadOf((hour + 1) * HOUR_MS - 1, zone)) ahead = null;
    hours.set(hour, ahead);
  }
  ahead ??= aheadOf(localMs, zone);
  return ahead === null ? null : localMs - ahead;
}

/** Returns how far a local time is ahead of UTC. Null for one that is skipped or comes twice. */
function aheadOf(localMs: number, zone: string): number | null {
  const local = Temporal.Instant.fromEpochMilliseconds(localMs).toZonedDateTimeISO("UTC").toPlainDateTime();
  try {
    return localMs - local.toZonedDateTime(zone, { disambiguation: "reject" }).epochMilliseconds;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}
