import { count, last, max, min, sql, sum, table } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/**
 * What has happened to each thing at each place. It has many columns, so that the events of two seconds are more cells
 * than a reader takes whole: then it looks for the asked key alone.
 */
export const berths = table("berths", {
  stream: ticks,
  key: { thing: sql`thing`, place: sql`place` },
  shards: 16,
  measures: {
    events: count(),
    total: sum(sql`amount`),
    least: min(sql`amount`),
    most: max(sql`amount`),
    last_id: last(sql`id`),
    at_least_0: sum(sql`greatest(amount, 0)`),
    at_least_100: sum(sql`greatest(amount, 100)`),
    at_least_200: sum(sql`greatest(amount, 200)`),
    at_least_300: sum(sql`greatest(amount, 300)`),
    at_least_400: sum(sql`greatest(amount, 400)`),
    at_least_500: sum(sql`greatest(amount, 500)`),
    at_least_600: sum(sql`greatest(amount, 600)`),
    at_least_700: sum(sql`greatest(amount, 700)`),
    at_least_800: sum(sql`greatest(amount, 800)`),
    at_least_900: sum(sql`greatest(amount, 900)`),
    at_least_1000: sum(sql`greatest(amount, 1000)`),
    at_least_1100: sum(sql`greatest(amount, 1100)`),
  },
});
