import type { FleetRole } from "../deployment/fleet.ts";
import type { Stage } from "../deployment/redis-proxy.ts";
import type { Scenario, World } from "../deployment/scenario.ts";
import { applyMarker } from "./apply-marker.ts";

const ROUNDS = 2;

/** Both processes die while one of them has an `apply` under way: it is not known which one that is. */
async function killAtApply({ deployment, program, fault }: World, stage: Stage): Promise<void> {
  const roles = deployment.fleet.of("speed");
  const marker = await applyMarker(program);
  for (let round = 0; round < ROUNDS; round++) {
    const cut = await deployment.proxy.catch(marker, stage);
    fault(`speed killed ${stage} an apply`);
    await Promise.all(roles.map((role) => role.kill()));
    cut();
    await Promise.all(roles.map((role) => role.start()));
  }
}

export const speedKillBeforeApply: Scenario = {
  name: "speed-kill-before-apply",
  what: "Speed processes are killed with an apply on its way that never reaches Redis: what it held is read again.",
  run: (world) => killAtApply(world, "before"),
};

export const speedKillAfterApply: Scenario = {
  name: "speed-kill-after-apply",
  what: "Speed processes are killed when Redis has applied, before they hear of it: nothing is applied twice.",
  run: (world) => killAtApply(world, "after"),
};

export const speedKillAtRandom: Scenario = {
  name: "speed-kill-at-random",
  what: "One speed process after the other is killed at some moment: the other one takes over its partitions.",
  async run({ deployment, fault, pick, random, sleep }) {
    const roles = deployment.fleet.of("speed") as [FleetRole, ...FleetRole[]];
    for (let round = 0; round < ROUNDS; round++) {
      await sleep(random(1_000));
      const role = pick(roles);
      fault("speed killed");
      await role.kill();
      await role.start();
    }
  },
};
