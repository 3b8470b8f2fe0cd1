import { Temporal } from "temporal-polyfill";
import { isZoneName } from "../contract/record/zone-time.ts";

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
type Day = (typeof DAYS)[number];

/** Times of the week, in a time zone. */
export interface During {
  /** IANA name, such as Europe/Berlin. */
  readonly zone: string;
  /**
   * Times of day, such as "08:00": `from` included, `to` excluded. A period with `to` before `from` ends the next day.
   */
  readonly from: string;
  readonly to: string;
  /** The days on which a period begins. Absent: every day. */
  readonly days?: readonly Day[];
}

/** Whether an instant, in epoch milliseconds, is in one of the periods. */
export function isDuring({ zone, from, to, days = DAYS }: During, timeMs: number): boolean {
  const local = Temporal.Instant.fromEpochMilliseconds(timeMs).toZonedDateTimeISO(zone);
  const minute = local.hour * 60 + local.minute;
  const [first, end] = [minuteOf(from) ?? 0, minuteOf(to) ?? 0];
  const begins = (daysAgo: number) => days.includes(dayOf(local.dayOfWeek - daysAgo));
  if (first < end) return begins(0) && minute >= first && minute < end;
  return (begins(0) && minute >= first) || (begins(1) && minute < end);
}

/** Returns the problems of the times: one sentence per problem, without the field's name. */
export function duringProblems({ zone, from, to, days = DAYS }: During): string[] {
  const problems: string[] = [];
  if (typeof zone !== "string" || !isZoneName(zone))
    problems.push(`zone: "${String(zone)}" is not a time zone such as Europe/Berlin`);
  for (const [field, text] of Object.entries({ from, to }))
    if (minuteOf(text) === null) problems.push(`${field}: "${String(text)}" is not a time of day such as 08:00`);
  if (from === to) problems.push("from and to are the same: leave `during` out for the whole day");
  if (!Array.isArray(days) || days.length === 0 || days.some((day) => !DAYS.includes(day)))
    problems.push(`days: some of ${DAYS.join(", ")}`);
  return problems;
}

/** Returns minutes since midnight. Null for a text that is not a time of day. 24:00 is the end of the day. */
function minuteOf(text: string): number | null {
  const [, hours, minutes] = /^(\d{2}):(\d{2})$/.exec(String(text)) ?? [];
  const minute = Number(hours) * 60 + Number(minutes);
  return hours !== undefined && Number(minutes) < 60 && minute <= 24 * 60 ? minute : null;
}

/** Returns the name of a day. `dayOfWeek`: 1 is Monday; 0 is the Sunday before it. */
function dayOf(dayOfWeek: number): Day {
  return DAYS[(dayOfWeek + 6) % 7] ?? "mon";
}
