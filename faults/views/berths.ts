import { count, last, max, min, sql, sum, table } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/** What has happened to each thing at each place. */
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
  },
});
