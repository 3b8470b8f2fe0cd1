import type { System } from "tideline";
import { patients } from "./simulators/patients.ts";

/** Patients whose heart rates are watched: alerts outside of 60 to 100 beats a minute. */
export const system: System = {
  description: "patients whose heart rates are watched, with an alert outside of 60 to 100 beats a minute",
  examples: ["tideline simulate patients --malformed 1%   fifty patients' heart rates", "tideline alerts watch"],
  simulators: [patients],
  simulation: {
    title: "Simulated patients",
    args: (rate) => ["simulate", "patients", "--rate", rate, "--duplicates", "1%", "--late", "2%", "--malformed", "1%"],
  },
  firstSteps: (api) => [
    `curl '${api}/alerts?state=open'`,
    "npx tideline alerts watch",
    "npx tideline query heart-rate --every 1m --order=-bucket",
  ],
};
