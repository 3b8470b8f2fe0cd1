import { sql, table } from "tideline";
import { ticks } from "../schemas/ticks.ts";

/** The newest record of each thing; some records remove it, and so does a tombstone. */
export const things = table("things", {
  stream: ticks,
  key: sql`thing`,
  where: sql`NOT test`,
  deleted: sql`amount < -400`,
  shards: 16,
});
