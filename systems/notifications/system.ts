import type { System } from "tideline";
import { placedOrders } from "./simulators/orders.ts";

/** Orders, and a mail to sales for each large one. */
export const system: System = {
  description: "orders, of which each large one is mailed to sales at once",
  examples: ["tideline simulate placed-orders --count 1000   a thousand orders", "tideline alerts watch"],
  simulators: [placedOrders],
  simulation: {
    title: "Simulated orders",
    args: (rate) => ["simulate", "placed-orders", "--rate", rate, "--duplicates", "1%", "--malformed", "1%"],
  },
  firstSteps: (api) => [
    `curl '${api}/alerts?rule=large-order'`,
    "npx tideline deliveries",
    "npx tideline query orders-by-country --every 1m --order=-bucket",
  ],
};
