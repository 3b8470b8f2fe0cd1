import { count, sql, topK, view } from "../../../core/definition/builders.ts";
import { userActivity } from "../../../schemas/user-activity.ts";

/** What people look at and buy: each row covers the five minutes up to its end, and a new one begins every minute. */
export const trendingProducts = view("trending-products", {
  stream: userActivity,
  every: "1 minute",
  window: "5 minutes",
  measures: {
    views: count({ where: sql`kind = 'view'`, unit: "views" }),
    purchases: count({ where: sql`kind = 'purchase'`, unit: "purchases" }),
    viewed: topK(sql`CASE WHEN kind = 'view' THEN sku END`, { unit: "views" }),
    purchased: topK(sql`CASE WHEN kind = 'purchase' THEN sku END`, { unit: "purchases" }),
  },
});
