import { count, distinct, sql, view } from "../../../core/definition/builders.ts";
import { userActivity } from "../../../schemas/user-activity.ts";

/** Who is here, hour by hour. Adding up hours to days counts everybody once. */
export const activeUsers = view("active-users", {
  stream: userActivity,
  by: { region: sql`region`, device: sql`device` },
  every: "1 hour",
  measures: {
    events: count({ unit: "events" }),
    users: distinct(sql`user_id`, { unit: "users" }),
  },
});
