import { simulator } from "../../../core/definition/builders.ts";
import { mix, randomNumbers, seedState } from "../../../core/numbers/random.ts";
import { stockMovements } from "../schemas/stock-movements.ts";

/** A delivery comes in, and leaves in three orders: one is cancelled, two are shipped. More than half of it stays. */
const LIFE = ["received", "reserved", "released", "reserved", "released", "shipped", "reserved", "released", "shipped"];
const WAREHOUSES = ["berlin", "lisbon", "osaka", "quito"];

/** Movements of a warehouse's stock, which never falls below zero. */
export const stock = simulator("stock", {
  description: "movements of the stock of some warehouses",
  streams: [stockMovements],
  unit: "movements",
  rate: 50,
  parameters: { skus: { description: "how many SKUs", byDefault: 200 } },
  events:
    ({ seed, rate, fromMs, parameters: { skus = 1 } }) =>
    (step) => {
      const [life, nth] = [Math.floor(step / LIFE.length), step % LIFE.length];
      const random = randomNumbers(mix(seedState(seed)) ^ mix(life), Math.floor(life / 2 ** 32));
      // Some SKUs move much more than others.
      const sku = Math.floor(skus * random() ** 3);
      const warehouse = WAREHOUSES[Math.floor(random() * WAREHOUSES.length)];
      const delivered = 20 + Math.floor(random() * 200);
      const orders = [random(), random(), random()].map((share) => 1 + Math.floor((share * delivered) / 6));
      const order = nth < 3 ? 0 : nth < 6 ? 1 : 2;
      const event = {
        movement_id: `${seed.toString(36)}-${step.toString(36)}`,
        at: fromMs + Math.floor((step * 1_000) / rate),
        sku: `SKU-${sku + 1}`,
        warehouse,
        kind: LIFE[nth],
        quantity: nth === 0 ? delivered : orders[order],
      };
      return [{ stream: stockMovements, event }];
    },
});
