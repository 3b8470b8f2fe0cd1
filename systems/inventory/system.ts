import type { System } from "tideline";
import { stock } from "./simulators/stock.ts";

/** The stock of some warehouses: what is there of every SKU, and what moves. */
export const system: System = {
  description: "the stock of some warehouses: what is there of every SKU, exact to the unit",
  examples: ["tideline simulate stock --duplicates 1%   movements of 200 SKUs", "tideline table stock"],
  simulators: [stock],
  simulation: {
    title: "Simulated warehouses",
    args: (rate) => ["simulate", "stock", "--rate", rate, "--duplicates", "1%", "--late", "2%", "--malformed", "1%"],
  },
  firstSteps: (api) => [
    `curl '${api}/tables/stock/SKU-1/berlin'`,
    "npx tideline table stock --order=available --limit 10",
    "npx tideline history stock SKU-1/berlin",
  ],
};
