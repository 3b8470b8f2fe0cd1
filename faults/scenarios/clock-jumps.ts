import type { FleetRole } from "../deployment/fleet.ts";
import { shiftClock } from "../deployment/injection.ts";
import type { Scenario } from "../deployment/scenario.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const JUMPS_MS = [MINUTE_MS, 6 * MINUTE_MS, HOUR_MS, 5 * HOUR_MS, DAY_MS, 30 * DAY_MS] as const;
const KINDS = ["speed", "worker", "serve", "speed", "worker", "serve"] as const;

export const clockJumps: Scenario = {
  name: "clock-jumps",
  what:
    "The wall clocks of roles jump forth and back by minutes to days: " +
    "positions decide what is counted, never a clock.",
  async run({ deployment, fault, pick, random, say, sleep }) {
    const { fleet } = deployment;
    try {
      for (const kind of KINDS) {
        const role = pick(fleet.of(kind) as [FleetRole, ...FleetRole[]]);
        const jumpMs = pick(JUMPS_MS) * pick([1, -1]);
        fault("clock jumped");
        say(`${role.name} ${jumpMs / MINUTE_MS} minutes`);
        await shiftClock(deployment, role, jumpMs);
        await sleep(1_000 + random(2_000));
      }
    } finally {
      for (const role of fleet.roles) await shiftClock(deployment, role, 0);
    }
  },
};
