import { count, ratio, sql, view } from "../../../core/definition/builders.ts";
import { userActivity } from "../../../schemas/user-activity.ts";

const views = count({ where: sql`kind = 'view'`, unit: "views" });
const carts = count({ where: sql`kind = 'add-to-cart'`, unit: "products" });
const purchases = count({ where: sql`kind = 'purchase'`, unit: "products" });

/** From looking to buying, minute by minute. */
export const conversion = view("conversion", {
  stream: userActivity,
  by: { region: sql`region`, device: sql`device` },
  every: "1 minute",
  measures: {
    views,
    carts,
    purchases,
    carts_per_view: ratio(carts, views),
    purchases_per_cart: ratio(purchases, carts),
    purchases_per_view: ratio(purchases, views),
  },
});
