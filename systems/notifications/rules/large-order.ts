import { rule, sql } from "../../../core/definition/builders.ts";
import { orders } from "../schemas/orders.ts";

const euros = sql`(amount_cents // 100) || '.' || lpad((amount_cents % 100)::VARCHAR, 2, '0')`;

/** An order of 1,000 EUR or more: once for each order. */
export const largeOrder = rule("large-order", {
  on: orders,
  key: sql`order_id`,
  when: sql`amount_cents >= 100000`,
  quiet: "1 day",
  severity: "info",
  says: sql`customer || ' (' || country || ') has ordered for ' || ${euros} || ' EUR'`,
});
