import { simulator } from "../../../core/definition/builders.ts";
import { mix, normal, pick, randomNumbers, seedState } from "../../../core/numbers/random.ts";
import { orders } from "../schemas/orders.ts";

const COUNTRIES = ["DE", "FR", "IT", "NL", "PL"].map((name) => ({ name, share: 1 }));
/** Amounts are spread so widely that about one order of a hundred is worth 1,000 EUR or more. */
const AMOUNT = { medianCents: 5_000, spread: 1.3, leastCents: 100, mostCents: 2_000_000 };

/** Orders of which few are large. */
export const placedOrders = simulator("placed-orders", {
  description: "orders, of which about one in a hundred is worth 1,000 EUR or more",
  streams: [orders],
  unit: "orders",
  rate: 10,
  parameters: { customers: { description: "how many customers", byDefault: 500 } },
  events:
    ({ seed, rate, fromMs, parameters: { customers = 1 } }) =>
    (step) => {
      const random = randomNumbers(mix(seedState(seed)) ^ mix(step), Math.floor(step / 2 ** 32));
      const cents = AMOUNT.medianCents * Math.exp(AMOUNT.spread * normal(random(), random()));
      const event = {
        order_id: `${seed.toString(36)}-${step.toString(36)}`,
        placed_at: fromMs + Math.floor((step * 1_000) / rate),
        customer: `customer ${1 + Math.floor(random() * customers)}`,
        country: pick(COUNTRIES, random()).name,
        amount_cents: Math.round(Math.min(AMOUNT.mostCents, Math.max(AMOUNT.leastCents, cents))),
      };
      return [{ stream: orders, event }];
    },
});
