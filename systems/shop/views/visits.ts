import { count, first, last, sql, view } from "../../../core/definition/builders.ts";
import { userActivity } from "../../../schemas/user-activity.ts";

/** A row a visit: what one user does without a break of half an hour. */
export const visits = view("visits", {
  stream: userActivity,
  by: { user: sql`user_id` },
  every: "30 minutes",
  sessions: { gap: "30 minutes" },
  measures: {
    events: count({ unit: "events" }),
    views: count({ where: sql`kind = 'view'`, unit: "views" }),
    purchases: count({ where: sql`kind = 'purchase'`, unit: "purchases" }),
    device: last(sql`device`),
    first_page: first(sql`page`),
    last_page: last(sql`page`),
  },
});
