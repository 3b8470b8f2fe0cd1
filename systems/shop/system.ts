import type { System } from "tideline";
import { registerReplay } from "./commands/replay.ts";
import { registerSimulate } from "./commands/simulate.ts";

/** A shop that sells in four regions, and real flights to replay. */
export const system: System = {
  description: "a shop that sells in four regions, and three million real flights to replay",
  examples: [
    "tideline simulate orders --rate 500  a shop with 500 orders a second",
    "tideline replay flights              three million real events",
  ],
  commands(program) {
    registerSimulate(program);
    registerReplay(program);
  },
  simulation: {
    title: "Simulated shop",
    // Its records are as untidy as those of a real one.
    args: (rate) => [
      ...["simulate", "shop", "--rate", rate],
      ...["--duplicates", "1%", "--late", "5%", "--avro", "50%"],
    ],
  },
  firstSteps: (api) => [
    `curl '${api}/views/revenue?every=1h&by=region'`,
    "npx tideline query revenue --by region --order=-revenue",
    "npx tideline replay flights",
  ],
  report: async () => (await import("./report/report.ts")).report,
};
