import { pick } from "../../../core/numbers/random.ts";
import { userActivity } from "../../../schemas/user-activity.ts";
import { categories, type Product, product } from "./catalogue.ts";
import type { Customer } from "./customers.ts";
import { happened, type Run, type ShopEvent } from "./event.ts";
import { lifeOf } from "./order-life.ts";

/**
 * One customer's visit from `startMs` on, in no particular order: what is looked at, put into the cart and bought, and
 * what becomes of the order.
 */
export function visit(customer: Customer, startMs: number, run: Run): ShopEvent[] {
  const { random } = run;
  const events: ShopEvent[] = [];
  let timeMs = startMs;
  const act = (kind: "view" | "add-to-cart" | "purchase", page: string, sku: string | null) => {
    events.push(
      happened(userActivity, {
        event_id: `a-${run.name}-${events.length}`,
        user_id: customer.id,
        occurred_at: timeMs,
        kind,
        page,
        sku,
        region: customer.region.name,
        device: customer.device,
      }),
    );
    timeMs += 2_000 + Math.floor(28_000 * random() ** 2);
  };
  if (random() < 0.6) act("view", "/", null);
  const cart: Product[] = [];
  for (let looks = 1 + Math.floor(2 * customer.patience * random()); looks > 0; looks--) {
    const category = random() < 0.6 ? customer.favourite : pick(categories, random()).name;
    const looked = product(category, random());
    act("view", `/products/${looked.sku}`, looked.sku);
    if (random() < customer.resolve) {
      act("add-to-cart", `/products/${looked.sku}`, looked.sku);
      if (!cart.includes(looked)) cart.push(looked);
    }
  }
  // Of two carts one is left standing.
  if (cart.length === 0 || random() < 0.5) return events;
  const boughtMs = timeMs;
  for (const { sku } of cart) {
    timeMs = boughtMs;
    act("purchase", "/checkout", sku);
  }
  return [...events, ...lifeOf(customer, cart, boughtMs, run)];
}

/**
 * How many visits lead to one order: what makes a rate of orders one of visits. test/ingest/shop.test.ts measures it.
 */
export const VISITS_PER_ORDER = 3.6;
