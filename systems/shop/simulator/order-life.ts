import { normal, pick } from "../../../core/numbers/random.ts";
import { inventoryReserved } from "../../../schemas/inventory-reserved.ts";
import { type OrderCancelled, orderCancelled } from "../../../schemas/order-cancelled.ts";
import { type OrderCompleted, type OrderCompletedV1, orderCompleted } from "../../../schemas/order-completed.ts";
import { type OrderCreated, orderCreated } from "../../../schemas/order-created.ts";
import { paymentProcessed } from "../../../schemas/payment-processed.ts";
import type { Product } from "./catalogue.ts";
import type { Customer } from "./customers.ts";
import { happened, type Run, type ShopEvent } from "./event.ts";

/**
 * The life of an order: created, reserved, paid, completed; or cancelled on the way.
 *
 *   created ──> reserved ──> paid ──> completed
 *      │            │          └──> fraud-suspected
 *      │            └──> payment-declined (a second try may help), changed-mind
 *      └──> out-of-stock, changed-mind
 */

const methods = [
  { name: "card", share: 62 },
  { name: "wallet", share: 30 },
  { name: "transfer", share: 8 },
] as const;
const chances = {
  outOfStock: 0.03,
  changedMindEarly: 0.015,
  changedMindLate: 0.01,
  declined: 0.05,
  fraud: 0.005,
  testOrder: 0.004,
};
/** The system of this region still writes version 1 of order-completed: no tax, no items, no earlier times. */
const oldRegion = "latam";

export function lifeOf(customer: Customer, cart: readonly Product[], createdMs: number, run: Run): ShopEvent[] {
  const { random } = run;
  const { region } = customer;
  const items = itemsOf(cart, run);
  const amount_cents = items.reduce((sum, { quantity, unit_cents }) => sum + quantity * unit_cents, 0);
  const tax_cents = Math.round((amount_cents * region.taxPercent) / 100);
  const order_id = `o-${run.name}`;
  const of = { order_id, region: region.name };
  const buyer_id = customer.id;
  const test_order = random() < chances.testOrder;
  const events: ShopEvent[] = [];
  const event_id = () => `e-${run.name}-${events.length}`;

  events.push(
    happened(orderCreated, {
      event_id: event_id(),
      ...of,
      created_at: createdMs,
      buyer_id,
      items,
      amount_cents,
      test_order,
    }),
  );
  const cancel = (reason: OrderCancelled["reason"], step: OrderCancelled["step"], cancelled_at: number) => {
    const created_at = createdMs;
    const what = { reason, step, cancelled_at, created_at, buyer_id, amount_cents, test_order };
    events.push(happened(orderCancelled, { event_id: event_id(), ...of, ...what }));
    return events;
  };
  const pay = (outcome: "paid" | "declined", processed_at: number) => {
    const method = pick(methods, random()).name;
    const charged_cents = amount_cents + tax_cents;
    const what = { processed_at, buyer_id, method, outcome, charged_cents };
    events.push(happened(paymentProcessed, { event_id: event_id(), ...of, ...what }));
  };

  const reservedMs = createdMs + duration(run, 4_000, 0.8);
  if (random() < chances.outOfStock) return cancel("out-of-stock", "created", reservedMs);
  if (random() < chances.changedMindEarly) return cancel("changed-mind", "created", reservedMs);
  const units = items.reduce((sum, { quantity }) => sum + quantity, 0);
  const warehouse = `${region.name}-${1 + Math.floor(3 * random())}`;
  events.push(happened(inventoryReserved, { event_id: event_id(), ...of, reserved_at: reservedMs, warehouse, units }));

  let paidMs = reservedMs + duration(run, 12_000, 0.9);
  if (random() < chances.changedMindLate) return cancel("changed-mind", "reserved", paidMs);
  if (random() < chances.declined) {
    pay("declined", paidMs);
    paidMs += duration(run, 40_000, 0.6);
    if (random() < 0.5) return cancel("payment-declined", "reserved", paidMs);
  }
  pay("paid", paidMs);
  const completedMs = paidMs + duration(run, 90_000, 0.9);
  if (random() < chances.fraud) return cancel("fraud-suspected", "paid", completedMs);

  const dearest = items.reduce((a, b) => (b.quantity * b.unit_cents > a.quantity * a.unit_cents ? b : a));
  const what = { completed_at: completedMs, category: dearest.category, buyer_id, amount_cents, test_order };
  const times = { created_at: createdMs, reserved_at: reservedMs, paid_at: paidMs };
  events.push(completion({ event_id: event_id(), ...of, ...what }, { tax_cents, items, ...times }));
  return events;
}

/** The products of a cart, mostly one of each. */
function itemsOf(cart: readonly Product[], { random }: Run): OrderCreated["items"] {
  return cart.map(({ sku, category, unitCents }) => ({
    sku,
    category,
    quantity: random() < 0.8 ? 1 : 2 + Math.floor(3 * random()),
    unit_cents: unitCents,
  }));
}

/** The last event of an order, in the version that its region's system writes. */
function completion(old: OrderCompletedV1, added: Omit<OrderCompleted, keyof OrderCompletedV1>): ShopEvent {
  const newest = { ...old, ...added };
  return old.region === oldRegion
    ? { ...happened(orderCompleted, newest, 1), event: old }
    : happened(orderCompleted, newest);
}

/** Log-normal, at most a quarter of an hour: milliseconds. */
function duration({ random }: Run, medianMs: number, spread: number): number {
  return Math.min(900_000, Math.round(medianMs * Math.exp(spread * normal(random(), random()))));
}
