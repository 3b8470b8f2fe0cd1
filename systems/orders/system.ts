import type { System } from "tideline";
import { registerSimulate } from "../shop/commands/simulate.ts";

/** Every order of the shop, with its state, amounts and times. */
export const system: System = {
  description: "every order of the shop by its number: state, amounts and times, joined from five topics",
  examples: ["tideline table order-view --where state=declined", "tideline history order-view o-1"],
  commands: registerSimulate,
  simulation: {
    title: "Simulated shop",
    args: (rate) => ["simulate", "shop", "--rate", rate, "--duplicates", "1%", "--late", "5%", "--avro", "50%"],
  },
  firstSteps: (api) => [
    `curl '${api}/tables/order-view?where[state]=declined&limit=5'`,
    "npx tideline table order-view --order=-amount_cents --limit 10",
    "npx tideline history order-view <order>",
  ],
};
